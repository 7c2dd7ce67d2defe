"""What every command that asks a broker begins with: which app, which broker, which output."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xqueue_core.cli.completing import files
from xqueue_core.cli.output import Output
from xqueue_core.cli.urls import url_option

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.calls import AnyCommand, Verdict
    from xqueue_core.client.call import Call
    from xqueue_core.connect import Connection
    from xqueue_core.handle import Handle

T = TypeVar("T")

#: Commands sent to a broker in one call.
BATCH = 200


class Caller:
    """One run of a command.

    Args:
        spec: the app as ``module:attr`` or ``file.py[:attr]``; None looks in the settings, and
            without one there the command goes by the broker alone.
        url: the broker, above all settings.
        as_json: print JSON.
    """

    def __init__(self, spec: str | None, url: str | None, as_json: bool) -> None:
        self._spec = spec
        self._url = url
        self.out = Output(as_json)

    @cached_property
    def app(self) -> XQueue:
        """The app that is named, else one that only knows the broker. Raises ConfigError."""
        from xqueue_core.app import XQueue
        from xqueue_core.cli.apps import configure, find_app
        from xqueue_core.settings import load_settings

        nameless = self._spec is None and load_settings().app is None
        app = XQueue() if nameless else find_app(self._spec)
        configure(app, {"url": self._url})
        app._make = False
        return app

    def named(self) -> tuple[str | None, bool, str | None]:
        """How the app was named, if it was; whether an option did so; the URL that an option gave.

        A URL that holds a secret is left out.
        """
        from xqueue_core.settings import load_settings, masked

        spec = self._spec or load_settings().app
        plain = self._url is not None and masked(self._url) == self._url
        return spec, self._spec is not None, self._url if plain else None

    def run(
        self,
        work: Callable[[XQueue], Coroutine[Any, Any, T]],
        *,
        make: bool = False,
        submits: bool = False,
    ) -> T:
        """What ``work`` gives, with the broker open.

        Args:
            work: is given the app.
            make: a database that is not there may be made; else nothing is, not even tables in
                a file of somebody else's.
            submits: plugins are told of what it submits; who only looks opens none.

        Raises:
            NotFound, NoDatabase: there is no database, and none may be made.
            ConfigError: settings are wrong, or the broker lives in one process alone.
            BrokerError: it does not answer.
        """
        from xqueue_core.cli.apps import check_shared
        from xqueue_core.cli.files import check_there
        from xqueue_core.cli.opening import opened, patience
        from xqueue_core.client.client import Client
        from xqueue_core.client.plugs import of_client

        app = self.app
        check_shared(app, "this command and the workers would not see each other's tasks")
        if not make:
            check_there(app)

        plugged = functools.partial(of_client, app) if submits else None
        app._client = Client(app.connect, patience(app), plugged=plugged)

        async def main() -> T:
            try:
                await opened(app, make=make)
                return await work(app)
            finally:
                await app.aclose()

        return asyncio.run(main())

    def order(self, work: Callable[[XQueue], Coroutine[Any, Any, T]]) -> T:
        """:meth:`run` for work that changes something by one call; a failure says so."""
        from xqueue_core.cli.opening import telling

        async def told(app: XQueue) -> T:
            with telling("nothing was done"):
                return await work(app)

        return self.run(told)

    def ask(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        """What one call that is safe to repeat answers. Raises as :meth:`run`."""
        return self.run(lambda app: ask(app, call))


async def ask(app: XQueue, call: Callable[[Connection], Awaitable[T]]) -> T:
    """Ask something of the open connection, trying until the client's deadline."""
    return await app._client.session.call(call)


async def submitted(app: XQueue, call: Call[Any]) -> Handle[Any]:
    """Get a task accepted. Raises what ``submit`` of a handler does, and says for how long."""
    from xqueue_core.cli.opening import telling

    with telling("nothing was submitted"):
        return await app._client.submit(call)


async def control(app: XQueue, commands: Sequence[AnyCommand]) -> list[Verdict]:
    """Carry out commands that are safe to repeat. Raises Unsupported if the broker cannot."""
    from xqueue_core.calls import Did
    from xqueue_core.cli.opening import telling
    from xqueue_core.errors import Unsupported

    verdicts: list[Verdict] = []
    for n in range(0, len(commands), BATCH):
        done = f"{len(verdicts)} of {len(commands)}" if verdicts else "nothing"
        with telling(f"{done} was done"):
            verdicts += await app._client.session.carry_out(commands[n : n + BATCH])
    for command, verdict in zip(commands, verdicts, strict=True):
        if verdict.did is Did.UNSUPPORTED:
            raise Unsupported(f"this broker does not know the command {type(command).__name__}")
    return verdicts


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--app``, ``--url`` and ``--json``, and a :class:`Caller` first."""

    @functools.wraps(command)
    def called(app: str | None, url: str | None, as_json: bool, **given: Any) -> None:
        command(Caller(app, url, as_json), **given)

    app = click.option(
        "--app", shell_complete=files, help="The app: `module:attr` or `file.py[:attr]`."
    )
    return app(url_option(json_option(called)))


def json_option(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
