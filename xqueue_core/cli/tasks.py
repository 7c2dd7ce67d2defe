"""``xqueue submit``, ``xqueue task show`` and ``xqueue stats``: the least that is useful."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
import msgspec

from xqueue_core.app import XQueue
from xqueue_core.cli.apps import check_shared, configure, find_app
from xqueue_core.views import Stats

T = TypeVar("T")


def _app(spec: str | None, url: str | None) -> XQueue:
    """The app that is named, else one that only knows the broker."""
    from xqueue_core.settings import load_settings

    nameless = spec is None and load_settings().app is None
    app = XQueue() if nameless else find_app(spec)
    configure(app, {"url": url})
    return app


def _run(app: XQueue, work: Callable[[XQueue], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        async with app:
            return await work(app)

    return asyncio.run(main())


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--url", help="The broker: `scheme://...`.")(command)
    return click.option("--app", help="The app: `module:attr` or `file.py[:attr]`.")(command)


@click.command()
@click.argument("type")
@click.argument("arguments", nargs=-1)
@_shared
def submit(type: str, arguments: tuple[str, ...], app: str | None, url: str | None) -> None:
    """Submit a task of TYPE; ARGUMENTS are name=value, a value being JSON or else text.

    An app that declares TYPE, named by --app or in the settings, gives the task the type's own
    options and key, and checks its arguments. Without one the task is sent with default options:
    priority 0, 3 retries, 60 s for an attempt, no key, no limit per key.
    """
    values = dict(_argument(one) for one in arguments)
    found = _app(app, url)
    check_shared(found, "no worker would see the task")
    handle = _run(found, lambda found: found.submit(type, **values))
    if type not in found.handlers:
        click.echo(
            f"Warning: no app that declares {type!r} was given, so the task was sent with default "
            "options: give --app to apply the type's own",
            err=True,
        )
    click.echo(handle.id)


@click.group()
def task() -> None:
    """Look at tasks."""


@task.command()
@click.argument("id")
@_shared
def show(id: str, app: str | None, url: str | None) -> None:
    """Show one task with its history, as JSON."""
    info = _run(_app(app, url), lambda found: found.handle(id).info())
    click.echo(json.dumps(msgspec.to_builtins(info, enc_hook=str), indent=2))


@click.command()
@_shared
def stats(app: str | None, url: str | None) -> None:
    """Show how many tasks there are, by lane and type, as JSON."""

    async def ask(found: XQueue) -> Stats:
        async with found.connect() as connection:
            answer: Stats = await connection.faces.needed("view").stats()
            return answer

    click.echo(json.dumps(msgspec.to_builtins(_run(_app(app, url), ask)), indent=2))


def _argument(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.BadParameter(f"{text!r} is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
