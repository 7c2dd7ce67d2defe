"""What follows from the evidence: a pure function, the same for every broker."""

from __future__ import annotations

from xqueue_core.task import State
from xqueue_core.views import TaskInfo
from xqueue_core.why.evidence import Evidence
from xqueue_core.why.kinds import AnyReason
from xqueue_core.why.leased import leased
from xqueue_core.why.reasons import (
    Duplicate,
    Ended,
    Fault,
    Moving,
    Quarantined,
    Unknown,
)
from xqueue_core.why.waiting import waiting
from xqueue_core.why.words import nearest


def reasons(evidence: Evidence) -> list[AnyReason]:
    """Why the task is not running, the most decisive reason first; at least one.

    Pure: the same evidence gives the same reasons. What the evidence does not tell is said to be
    unknown, and never guessed.
    """
    found: list[AnyReason] = []
    info = evidence.info
    if evidence.asked:
        found.append(Duplicate(id=evidence.asked, of=evidence.id))
    if info is None:
        found += evidence.untold
        if not any(one.what == "task" for one in evidence.untold):
            found.insert(0, _unknown(evidence))
        return found
    if info.quarantined:
        return [*found, Quarantined(why=info.reason)]
    if info.state in (State.MOVING, State.MOVED):
        return [*found, Moving(state=info.state)]
    if info.state.final:
        return [*found, _ended(evidence, info)]
    judged = leased if info.state is State.PROCESSING else waiting
    return [*found, *judged(evidence, info)]


def _unknown(evidence: Evidence) -> Unknown:
    type_ = evidence.id.partition(":")[0]
    lanes = evidence.stats.lanes.values() if evidence.stats is not None else ()
    types = {name for lane in lanes for name in lane.types}
    return Unknown(
        id=evidence.id,
        type=type_,
        known=type_ in types,
        near=tuple(nearest(type_, types)),
        where=evidence.where,
    )


def _ended(evidence: Evidence, info: TaskInfo) -> Ended:
    return Ended(
        state=info.state,
        reason=info.reason,
        finished_at=info.finished_at,
        ago=max(0.0, evidence.at - info.finished_at),
        attempt=info.attempt,
        fault=Fault.of(info.failure),
        replayable=not evidence.inline,
    )
