"""The reasons of a task that waits: for its time, for a worker, for a permit, for its turn."""

from __future__ import annotations

from collections.abc import Iterator

from xqueue_core.task import State
from xqueue_core.views import TaskInfo
from xqueue_core.why.evidence import Evidence
from xqueue_core.why.holding import key_limit, lane_limit
from xqueue_core.why.kinds import AnyReason
from xqueue_core.why.limits import Behind
from xqueue_core.why.obstacles import NoWorker, Paused, Ready
from xqueue_core.why.past import due, handed_back, lost
from xqueue_core.why.reasons import Due, Expiring, HandedBack, Lost
from xqueue_core.why.serving import Serving

#: Of a task that is due later than so (seconds) nothing is said that passes by itself until then.
SOON = 5.0


def waiting(evidence: Evidence, info: TaskInfo) -> list[AnyReason]:
    """What keeps it waiting, the most decisive first."""
    later = due(evidence, info)
    found = list(_standing(evidence, info, later))
    if later is None or later.due_in <= SOON:
        found += _passing(evidence, info)
    expiring = _expiring(evidence, info)
    if expiring is not None and expiring.expires_in <= 0 and not expiring.stands:
        found.insert(0, expiring)  # whatever else is true, it will not run
    elif expiring is not None:
        found.append(expiring)
    found += evidence.untold
    if any(_obstacle(one, info) for one in found):
        return found
    serving = Serving(info, evidence.workers or [])
    return [Ready(workers=serving.names, free=serving.free), *found]


def _obstacle(reason: AnyReason, info: TaskInfo) -> bool:
    """False for what may be said beside "nothing stands in its way"."""
    if isinstance(reason, Expiring):
        return reason.expires_in <= 0
    if isinstance(reason, Lost):
        return reason.alone
    return not (isinstance(reason, HandedBack) and info.state is State.PENDING)


def _standing(evidence: Evidence, info: TaskInfo, later: Due | None) -> Iterator[AnyReason]:
    """What lasts until something is done about it, or its time has come."""
    if evidence.resting:
        yield NoWorker(cause="testing", type=info.type, lane=info.lane, where=evidence.where)
    if later is not None:
        yield later
    if evidence.lane.paused:
        yield Paused(lane=info.lane)
    if evidence.workers is not None and not evidence.resting:
        nobody = Serving(info, evidence.workers).nobody(evidence.where)
        if nobody is not None:
            yield nobody
    for past in (handed_back(info), lost(info)):
        if past is not None:
            yield past


def _passing(evidence: Evidence, info: TaskInfo) -> Iterator[AnyReason]:
    """What passes as others end."""
    key = key_limit(evidence, info)
    if key is not None and key.parked:
        yield key
    if (full := lane_limit(evidence, info)) is not None:
        yield full
    if evidence.workers is not None:
        busy = Serving(info, evidence.workers).busy()
        if busy is not None:
            yield busy
    if key is not None and not key.parked:
        yield key
    ahead = evidence.ahead
    if ahead is not None and not info.waiting_for and (ahead.count or not ahead.exact):
        yield Behind(
            lane=info.lane,
            count=ahead.count,
            higher=ahead.higher,
            exact=ahead.exact,
            waiting=evidence.leasable,
        )


def _expiring(evidence: Evidence, info: TaskInfo) -> Expiring | None:
    """Said if it does not wait for ever."""
    timeout = info.task.queue_timeout if info.task is not None else None
    if timeout is None:
        return None
    at = info.expires_at or info.due_at + timeout
    return Expiring(
        expires_at=at,
        expires_in=at - evidence.at,
        stands=evidence.lane.paused,
        exact=bool(info.expires_at),
    )
