"""``xqueue submit``."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import TYPE
from xqueue_core.cli.params import DURATION, MOMENT

if TYPE_CHECKING:
    from xqueue_core.app import XQueue


@click.command()
@click.argument("type", shell_complete=TYPE)
@click.argument("arguments", nargs=-1)
@click.option("--delay", type=DURATION, help="Until it may start: seconds, or such as 10m.")
@click.option("--run-at", type=MOMENT, help="When it may start: 2030-01-31T09:00:00Z.")
@click.option("--priority", type=int, help="0 to 9, higher first.")
@click.option("--unique-key", "--key", help="A second task with it is a duplicate of the first.")
@click.option("--id", help="The token of the id, or the whole id; accepted once.")
@click.option("--max-retry", type=int, help="Retries after the first attempt.")
@click.option("--wait", is_flag=True, help="Wait until it has ended, and print its result.")
@click.option("--timeout", type=DURATION, help="Longest such wait.")
@asks
def submit(
    call: Caller,
    type: str,
    arguments: tuple[str, ...],
    wait: bool,
    timeout: float | None,
    **options: float | datetime | str | None,
) -> None:
    """Submit a task by its type's name.

    ARGUMENTS are name=value, a value being JSON or else text; name:=value is JSON alone, and
    name==value is text alone.

    An app that declares TYPE, named by --app or in the settings, gives the task the type's own
    options and key, and checks its arguments. Without one the task is sent with default options:
    priority 0, 3 retries, 60 s for an attempt, no key, no limit per key.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is for --wait")
    values = _arguments(arguments)
    given = {name: value for name, value in options.items() if value is not None}
    call.run(lambda app: _submit(app, call, type, values, given, (wait, timeout)), make=True)


async def _submit(
    app: XQueue,
    call: Caller,
    type: str,
    values: dict[str, Any],
    given: dict[str, Any],
    waits: tuple[bool, float | None],
) -> None:
    from xqueue_core.cli.submitting import made

    handle = await app._client.submit(await made(app, type, values, given))
    if type not in app.handlers:
        click.echo(
            f"Warning: no app that declares {type!r} was given, so the task was sent with default "
            "options: give --app to apply the type's own",
            err=True,
        )
    wait, timeout = waits
    said = {"id": handle.id, "type": type, "duplicate": handle.duplicate}
    if not (wait and call.out.as_json):
        call.out.show(said, handle.id)
    if wait:
        from xqueue_core.cli.waiting import ended

        await ended(handle, timeout, call.out, {"duplicate": handle.duplicate})


def _arguments(texts: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in texts:
        name, value = _argument(text)
        if name in values:
            raise click.UsageError(f"the argument {name!r} is given twice")
        values[name] = value
    return values


def _argument(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or name in ("", ":"):
        raise click.UsageError(f"{text!r} is not name=value")
    if value.startswith("="):
        return name, value[1:]
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        if not name.endswith(":"):
            return name, value
        raise click.UsageError(f"the argument {name[:-1]!r} is not JSON: {value!r}") from error
    return name.removesuffix(":"), found
