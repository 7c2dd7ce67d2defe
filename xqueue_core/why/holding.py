"""Whether a limit holds a task back: what the permits of its lane and of its key tell."""

from __future__ import annotations

from collections import Counter

from xqueue_core.permits import KeyInfo
from xqueue_core.views import TaskInfo
from xqueue_core.why.evidence import Evidence
from xqueue_core.why.limits import Holder, KeyLimit, LaneLimit


def lane_limit(evidence: Evidence, info: TaskInfo) -> LaneLimit | None:
    """Said if its lane has no permit free."""
    lane = evidence.lane_limit
    if lane is None or lane.limit is None or len(lane.holders) < lane.limit:
        return None
    return LaneLimit(
        lane=info.lane,
        limit=lane.limit,
        used=len(lane.holders),
        pinned=lane.pinned,
        holders=_holders(lane),
    )


def key_limit(evidence: Evidence, info: TaskInfo) -> KeyLimit | None:
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
