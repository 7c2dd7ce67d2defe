"""Waits for tasks that nothing runs: in a rehearsal, until somebody calls ``t.run_all()``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from xqueue_core.errors import NothingRuns

#: How long somebody else has to begin a run before a wait is said to be in vain (seconds).
PAUSE = 0.2
#: How often it is looked whether the run that a wait is for has ended (seconds).
AGAIN = 0.5
#: What there is to say of it.
UNTIL = (
    "within app.testing() nothing runs until you call t.run_all(), t.run_one() or t.advance(...)"
)


#: How many runs there were; None while one is under way.
Idle = Callable[[], int | None]


async def still(idle: Idle) -> bool:
    """True if nothing runs tasks here, and nothing begins to within ``PAUSE``."""
    before = idle()
    if before is None:
        return False
    await asyncio.sleep(PAUSE)
    return idle() == before


async def refuse_in_vain(
    idle: Idle, id: str, answer: asyncio.Future[Any], look: Callable[[], Awaitable[object]]
) -> None:
    """Return when the answer is there; raise NothingRuns if nothing runs what it waits for.

    Args:
        look: looks the task up, which gives the answer if it has ended.
    """
    while not answer.done():
        if await still(idle) and not answer.done():
            await look()  # what ended just now may not have been told yet
            if not answer.done():
                raise nothing_runs(id)
        await asyncio.wait([answer], timeout=AGAIN)


def nothing_runs(id: str) -> NothingRuns:
    """The error for a wait for this task."""
    return NothingRuns(
        f"task {id} has not run, and {UNTIL}: call one of them before you wait for it"
    )
