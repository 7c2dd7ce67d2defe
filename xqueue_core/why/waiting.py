"""The reasons of a task that waits: for its time, for a worker, for a permit, for its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from xqueue_core.permits import KeyInfo
from xqueue_core.task import State
from xqueue_core.views import TaskInfo
from xqueue_core.why.evidence import Evidence
from xqueue_core.why.kinds import AnyReason
from xqueue_core.why.limits import Behind, Holder, KeyLimit, LaneLimit
from xqueue_core.why.obstacles import Paused, Ready
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
    if evidence.untold or any(_obstacle(one, info) for one in found):
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
    if later is not None:
        yield later
    if evidence.lane.paused:
        yield Paused(lane=info.lane)
    if evidence.workers is not None:
        nobody = Serving(info, evidence.workers).nobody(evidence.where)
        if nobody is not None:
            yield nobody
    for past in (handed_back(info), lost(info)):
        if past is not None:
            yield past


def _passing(evidence: Evidence, info: TaskInfo) -> Iterator[AnyReason]:
    """What passes as others end."""
    key = _key_limit(evidence, info)
    if key is not None and key.parked:
        yield key
    lane = evidence.lane_limit
    if lane is not None and lane.limit is not None and len(lane.holders) >= lane.limit:
        yield LaneLimit(
            lane=info.lane,
            limit=lane.limit,
            used=len(lane.holders),
            pinned=lane.pinned,
            holders=_holders(lane),
        )
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


def _key_limit(evidence: Evidence, info: TaskInfo) -> KeyLimit | None:
    """Said if it is parked, or its key has no permit free."""
    key = info.task.key if info.task is not None else None
    parked = bool(info.waiting_for)
    if key is None:
        return None
    permits, ahead = evidence.key_limit, evidence.ahead
    known = parked and ahead is not None and ahead.exact
    found = KeyLimit(
        lane=info.lane,
        key=key,
        limit=permits.limit if permits is not None else None,
        used=len(permits.holders) if permits is not None else None,
        pinned=permits.pinned if permits is not None else False,
        holders=_holders(permits),
        parked=parked,
        place=ahead.count + 1 if known and ahead is not None else None,
        waiting=evidence.line,
    )
    return found if parked or found.full else None


def _holders(permits: KeyInfo | None) -> tuple[Holder, ...]:
    """Who holds how many permits, and how long they last; most permits first."""
    if permits is None:
        return ()
    lasts: dict[str, float | None] = {}
    for id, worker in permits.holders.items():
        left = permits.expires_in.get(id)
        before = lasts.get(worker, 0.0)
        lasts[worker] = None if left is None or before is None else max(before, left)
    counts = Counter(permits.holders.values())
    return tuple(
        Holder(worker=worker, permits=counts[worker], expires_in=lasts[worker])
        for worker in sorted(counts, key=lambda one: (-counts[one], one))
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
