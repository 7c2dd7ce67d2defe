"""Raises in a test what has failed in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xqueue_core.client.ending import ending
from xqueue_core.errors import InvalidResult, InvalidTask
from xqueue_core.task import State
from xqueue_core.worker.outcomes import BadArguments

if TYPE_CHECKING:
    from xqueue_core.handlers import HandlerSpec
    from xqueue_core.testing.ran import Ran
    from xqueue_core.views import TaskInfo

    #: Looks tasks up by their ids.
    Find = Callable[[list[str]], Sequence[TaskInfo | None]]

#: Tasks that a note names.
NAMED = 10


def judged(ran: Ran, find: Find, handlers: Mapping[str, HandlerSpec]) -> Ran:
    """The same with InvalidResult as the error of each success whose result does not fit."""
    ids = [run.id for run in ran if run.how == "success"]
    errors = {
        info.id: error
        for info in (find(ids) if ids else ())
        if info is not None and (error := _misfit(info, handlers.get(info.type))) is not None
    }
    return type(ran)(
        replace(run, error=errors.get(run.id)) if run.how == "success" else run for run in ran
    )


def _misfit(info: TaskInfo, spec: HandlerSpec | None) -> InvalidResult | None:
    if spec is None or info.result is None:
        return None
    try:
        spec.decode_result(info.result, info.result_type)
    except InvalidTask as error:
        return InvalidResult(f"task {info.id} succeeded, but {error}", info.id)
    return None


def raise_bad(ran: Ran, find: Find) -> None:
    """Raise what the first task has raised that ended badly; nothing if none did.

    Raises:
        The handler's own exception, if the task is ``failed`` and there was one; else TaskFailed,
        TaskTimedOut or InvalidResult, as its handle would.
    """
    last = {run.id: run.error for run in ran}
    bad = [
        info
        for info in find(list(last))
        if info is not None
        and (
            info.state in (State.FAILED, State.TIMEOUT) or isinstance(last[info.id], InvalidResult)
        )
    ]
    if not bad:
        return
    first, *others = bad
    raised = last[first.id]
    if isinstance(raised, BadArguments):
        raised = raised.__cause__ or raised
    if isinstance(raised, asyncio.CancelledError):  # it was told to end
        raised = None
    if first.state is not State.TIMEOUT and raised is not None:
        raised.add_note(f"raised by task {first.id}, attempt {first.attempt}")
    else:
        raised = ending(first)
    if others:
        more = ", ..." if len(others) > NAMED else ""
        named = ", ".join(f"{info.id} ({info.state.value})" for info in others[:NAMED])
        raised.add_note(f"{len(others)} more ended badly: {named}{more}")
    raise raised
