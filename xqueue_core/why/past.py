"""What a task's history has to do with its wait: losses, hand-backs, failures."""

from __future__ import annotations

from itertools import takewhile

from xqueue_core.task import MAX_LOSSES, Attempt, State
from xqueue_core.views import TaskInfo
from xqueue_core.why.evidence import Evidence
from xqueue_core.why.reasons import Due, Fault, HandedBack, Lost


def lost(info: TaskInfo) -> Lost | None:
    """Said if workers died while they had it."""
    if not info.losses:
        return None
    last = next((one for one in reversed(info.history) if one.how == "lost"), None)
    return Lost(
        losses=info.losses,
        most=MAX_LOSSES,
        worker=last.worker if last is not None else "",
        at=last.ended_at if last is not None else 0.0,
        alone=info.losses >= MAX_LOSSES - 1,
    )


def handed_back(info: TaskInfo) -> HandedBack | None:
    """Said if the last worker that had it gave it back, and it has not been leased since."""
    last = info.history[-1] if info.history else None
    if last is None or last.how != "handback" or not info.reason:
        return None

    def alike(one: Attempt) -> bool:
        return (one.how, one.reason) == (last.how, last.reason)

    return HandedBack(
        reason=info.reason,
        times=len(list(takewhile(alike, reversed(info.history)))),
        worker=last.worker,
        at=last.ended_at,
        type=info.type,
    )


def due(evidence: Evidence, info: TaskInfo) -> Due | None:
    """Said if its time has not come, or nobody has noticed that it has."""
    if info.state is not State.SCHEDULED:
        return None
    last = info.history[-1] if info.history else None
    # A replay begins anew: what its history tells is of an earlier life.
    retried = last is not None and last.how == "retry" and info.attempt > 0
    back = handed_back(info) is not None
    return Due(
        due_at=info.due_at,
        due_in=info.due_at - evidence.at,
        after="unable" if back else "retry" if retried else "delay",
        attempt=info.attempt if retried else 0,
        attempts=info.task.max_retry + 1 if retried and info.task is not None else 0,
        fault=Fault.of(info.failure) if retried else None,
    )
