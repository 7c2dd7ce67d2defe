"""Makes the task that a command submits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from xqueue_core.client.call import Call, make_call, make_task
from xqueue_core.client.closed import words_of
from xqueue_core.client.lanes import ByName
from xqueue_core.client.options import TaskOptions
from xqueue_core.errors import InvalidTask
from xqueue_core.ids import make_id

if TYPE_CHECKING:
    from xqueue_core.app import XQueue


def made_of(
    app: XQueue, type: str, values: dict[str, Any], given: dict[str, Any]
) -> Call[Any] | None:
    """A task with its type's own options and those given; None if the app does not declare it.

    Raises InvalidTask if arguments or options do not fit.
    """
    spec = app.handlers.get(type)
    if spec is None:
        return None
    options = spec.options.but(given)
    id = make_id(type, options.id, options.unique_key, app._client.uuid)
    try:
        return make_call(spec, options, id, (), values)
    except InvalidTask as error:
        hint = "; to give text, write name==value" if "Expected `str`" in str(error) else ""
        raise InvalidTask(f"{error}{hint}") from error


async def made(app: XQueue, type: str, values: dict[str, Any], given: dict[str, Any]) -> Call[Any]:
    """A task of a type that only the broker knows, with default options and those given.

    Raises:
        UnknownType: the broker does not know the type.
        InvalidTask: options do not fit.
    """
    call = await app._foreign(type, values)
    options = TaskOptions().but(given)
    id = make_id(type, options.id, options.unique_key, app._client.uuid)
    task = make_task(id, call.task.lane, call.task.payload, options, kind=ByName)
    return Call(task, call.decode)


@contextmanager
def told_if_interrupted(id: str) -> Iterator[None]:
    """Within, Ctrl-C has the task's id told, and what is known of it."""
    try:
        yield
    except asyncio.CancelledError as error:
        what = words_of(error) or f"task {id} was accepted, and is not waited for any more"
        click.echo(f"Interrupted: {what}; see `xqueue task show {id}`", err=True)
        raise
