"""What every command that asks a broker begins with: which app, which broker, which output."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xqueue_core.cli.output import Output
from xqueue_core.cli.urls import url_option

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.calls import AnyCommand, Verdict
    from xqueue_core.connect import Connection

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
        return app

    def run(self, work: Callable[[XQueue], Coroutine[Any, Any, T]], *, make: bool = False) -> T:
        """What ``work`` gives, with the broker open.

        Args:
            work: is given the app.
            make: a database that is not there may be made.

        Raises:
            NotFound: there is no database, and none may be made.
            ConfigError: settings are wrong, or the broker lives in one process alone.
            BrokerError: it does not answer.
        """
        from xqueue_core.cli.apps import check_shared
        from xqueue_core.cli.files import check_there

        app = self.app
        check_shared(app, "this command and the workers would not see each other's tasks")
        if not make:
            check_there(app)

        async def main() -> T:
            async with app:
                return await work(app)

        return asyncio.run(main())

    def ask(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        """What one call that is safe to repeat answers. Raises as :meth:`run`."""
        return self.run(lambda app: ask(app, call))


async def ask(app: XQueue, call: Callable[[Connection], Awaitable[T]]) -> T:
    """Ask something of the open connection, trying until the client's deadline."""
    return await app._client.session.call(call)


async def control(app: XQueue, commands: Sequence[AnyCommand]) -> list[Verdict]:
    """Carry out commands that are safe to repeat. Raises Unsupported if the broker cannot."""
    from xqueue_core.calls import Did
    from xqueue_core.errors import Unsupported

    verdicts: list[Verdict] = []
    for n in range(0, len(commands), BATCH):
        part = commands[n : n + BATCH]

        async def call(
            connection: Connection, part: Sequence[AnyCommand] = part
        ) -> Sequence[Verdict]:
            return await connection.faces.queue.control(part)

        verdicts += await ask(app, call)
    for command, verdict in zip(commands, verdicts, strict=True):
        if verdict.did is Did.UNSUPPORTED:
            raise Unsupported(f"this broker does not know the command {type(command).__name__}")
    return verdicts


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--app``, ``--url`` and ``--json``, and a :class:`Caller` first."""

    @functools.wraps(command)
    def called(app: str | None, url: str | None, as_json: bool, **given: Any) -> None:
        command(Caller(app, url, as_json), **given)

    app = click.option("--app", help="The app: `module:attr` or `file.py[:attr]`.")
    return app(url_option(json_option(called)))


def json_option(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
