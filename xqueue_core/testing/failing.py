"""Raises in a test what has failed in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xqueue_core.client.ending import ending
from xqueue_core.task import State
from xqueue_core.worker.outcomes import BadArguments

if TYPE_CHECKING:
    from xqueue_core.testing.ran import Ran
    from xqueue_core.views import TaskInfo

#: Tasks that a note names.
NAMED = 10


def raise_bad(ran: Ran, find: Callable[[list[str]], Sequence[TaskInfo | None]]) -> None:
    """Raise what the first task has raised that ended badly; nothing if none did.

    Raises:
        The handler's own exception, if the task is ``failed`` and there was one; else TaskFailed
        or TaskTimedOut, as its handle would.
    """
    last = {run.id: run.error for run in ran}
    bad = [
        info
        for info in find(list(last))
        if info is not None and info.state in (State.FAILED, State.TIMEOUT)
    ]
    if not bad:
        return
    first, *others = bad
    raised = last[first.id]
    if isinstance(raised, BadArguments):
        raised = raised.__cause__ or raised
    if isinstance(raised, asyncio.CancelledError):  # it was told to end
        raised = None
    if first.state is State.FAILED and raised is not None:
        raised.add_note(f"raised by task {first.id}, attempt {first.attempt}")
    else:
        raised = ending(first)
    if others:
        more = ", ..." if len(others) > NAMED else ""
        named = ", ".join(f"{info.id} ({info.state.value})" for info in others[:NAMED])
        raised.add_note(f"{len(others)} more ended badly: {named}{more}")
    raise raised
