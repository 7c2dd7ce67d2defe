"""Why a task is not running: what stands in its way, told from what every broker can tell.

:func:`ask` asks a connection's faces, :func:`reasons` judges what was learned, purely; a
:class:`Why` has both. See ``docs/why.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from xqueue_core.task import State
from xqueue_core.why.evidence import Ahead, Evidence, gather
from xqueue_core.why.judge import reasons
from xqueue_core.why.kinds import AnyReason
from xqueue_core.why.limits import Behind, Holder, KeyLimit, LaneLimit
from xqueue_core.why.obstacles import Busy, CannotTell, NoWorker, Paused, Ready
from xqueue_core.why.reasons import (
    Due,
    Duplicate,
    Ended,
    Expiring,
    Fault,
    HandedBack,
    Lost,
    Moving,
    Quarantined,
    Reason,
    Unknown,
)
from xqueue_core.why.running import CancelRequested, Fetched, Overdue, Processing, Silent

if TYPE_CHECKING:
    from xqueue_core.abc import Faces

__all__ = [
    "Ahead",
    "AnyReason",
    "Behind",
    "Busy",
    "CancelRequested",
    "CannotTell",
    "Due",
    "Duplicate",
    "Ended",
    "Evidence",
    "Expiring",
    "Fault",
    "Fetched",
    "HandedBack",
    "Holder",
    "KeyLimit",
    "LaneLimit",
    "Lost",
    "Moving",
    "NoWorker",
    "Overdue",
    "Paused",
    "Processing",
    "Quarantined",
    "Ready",
    "Reason",
    "Silent",
    "Unknown",
    "Why",
    "ask",
    "explain",
    "gather",
    "reasons",
]


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why one task is not running, or that it is.

    Attributes:
        id: the task's; of the one that stands in its place if it is a duplicate.
        state: None if no such task is known, or if the broker cannot be asked.
        at: the broker's clock when it was asked, UTC seconds.
        reasons: the most decisive first; at least one.
    """

    id: str
    state: State | None
    at: float
    lane: str = ""
    reasons: list[AnyReason]

    def text(self) -> str:
        """All of it for a reader: the state in a line, and below it each reason in one."""
        state = "is not known" if self.state is None else f"is {self.state.value}"
        return "\n".join([f"{self.id} {state}.", *(f"- {one.text}" for one in self.reasons)])

    def __str__(self) -> str:
        return self.text()


def explain(evidence: Evidence) -> Why:
    """What is known, and what follows from it."""
    info = evidence.info
    return Why(
        id=evidence.id,
        state=None if info is None else info.state,
        at=evidence.at,
        lane="" if info is None else info.lane,
        reasons=reasons(evidence),
    )


async def ask(
    faces: Faces,
    id: str,
    *,
    ordered: bool = True,
    where: str = "",
    resting: bool = False,
    inline: bool = False,
    clock: Callable[[], float] = time.time,
) -> Why:
    """Find out why a task is not running. Arguments and errors are those of :func:`gather`.

    ``resting``: within ``app.testing()``, and no call that runs tasks is under way. ``inline``:
    tasks run within their submits, and are never replayed.
    """
    evidence = await gather(faces, id, ordered=ordered, where=where, clock=clock)
    evidence.resting, evidence.inline = resting, inline
    return explain(evidence)
