"""``xqueue submit``."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from xqueue_core.cli.caller import Caller, asks, submitted
from xqueue_core.cli.completing import TYPE
from xqueue_core.cli.params import DURATION, MOMENT

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.client.call import Call


@click.command()
@click.argument("type", shell_complete=TYPE)
@click.argument("arguments", nargs=-1)
@click.option("--delay", type=DURATION, help="Until it may start: seconds, or such as 10m.")
@click.option("--run-at", type=MOMENT, help="When it may start: 2030-01-31T09:00:00Z.")
@click.option("--priority", type=int, help="0 to 9, higher first.")
@click.option("--unique-key", help="A second task with it is a duplicate of the first.")
@click.option("--id", help="The token of the id, or the whole id; accepted once.")
@click.option("--max-retry", type=int, help="Retries after the first attempt.")
@click.option("--queue-timeout", type=DURATION, help="Longest wait once it may start.")
@click.option("--process-timeout", type=DURATION, help="Longest run of one attempt.")
@click.option("--result-ttl", type=DURATION, help="How long its result is kept.")
@click.option("--header", "headers", multiple=True, help="name=value, which travels with it.")
@click.option("--wait", is_flag=True, help="Wait until it has ended, and print its result.")
@click.option("--timeout", type=DURATION, help="Longest such wait.")
@asks
def submit(
    call: Caller,
    type: str,
    arguments: tuple[str, ...],
    wait: bool,
    timeout: float | None,
    headers: tuple[str, ...],
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
    from xqueue_core.cli.submitting import made_of

    values = _arguments(arguments)
    given: dict[str, Any] = {name: one for name, one in options.items() if one is not None}
    if headers:
        given["headers"] = _headers(headers)
    # A database is made for tasks that the app declares: for others there is none to know them.
    declared = made_of(call.app, type, values, given)
    if declared is None:
        _check_known(call, type)
    call.run(
        lambda app: _submit(app, call, declared, (type, values, given), (wait, timeout)),
        make=declared is not None,
        submits=True,
    )


async def _submit(
    app: XQueue,
    call: Caller,
    declared: Call[Any] | None,
    asked: tuple[str, dict[str, Any], dict[str, Any]],
    waits: tuple[bool, float | None],
) -> None:
    from xqueue_core.cli.output import echo
    from xqueue_core.cli.submitting import made, told_if_interrupted

    type, values, given = asked
    task = declared or await made(app, type, values, given)
    # At once, for what is under way is waited for before the command ends.
    with told_if_interrupted(task.id):
        handle = await submitted(app, task)
    if handle.duplicate:
        shown = " with this unique key" if "unique_key" in given else ""
        echo(f"Warning: {handle.id} exists already{shown}; nothing was submitted", err=True)
    elif declared is None:
        echo(
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

        with told_if_interrupted(handle.id):
            await ended(handle, timeout, call.out, {"duplicate": handle.duplicate})


def _check_known(call: Caller, type: str) -> None:
    """Of a database that is not there, what is wrong is most often the name of the type."""
    from xqueue_core.cli.apps import check_shared
    from xqueue_core.cli.exits import NotFound
    from xqueue_core.cli.files import check_there
    from xqueue_core.client.declaring import unknown_type
    from xqueue_core.ids import check_type

    app = call.app
    check_type(type)
    check_shared(app, "this command and the workers would not see each other's tasks")
    try:
        check_there(app)
    except NotFound:
        if app.handlers:
            raise unknown_type(type, app.handlers) from None
        raise


def _arguments(texts: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in texts:
        name, value = _argument(text)
        if name in values:
            raise click.UsageError(f"the argument {name!r} is given twice")
        values[name] = value
    return values


def _headers(texts: tuple[str, ...]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.UsageError(f"--header {text!r} is not name=value")
        if name in headers:
            raise click.UsageError(f"the header {name!r} is given twice")
        headers[name] = value
    return headers


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
