"""Who would run the task: the registered workers, sorted by what they serve."""

from __future__ import annotations

from xqueue_core.views import TaskInfo, WorkerInfo
from xqueue_core.why.obstacles import Busy, NoWorker
from xqueue_core.why.words import nearest


class Serving:
    """The workers from one task's point of view.

    Attributes:
        living: those that count as alive.
        willing: those of them that serve its lane and type and lease.
    """

    def __init__(self, info: TaskInfo, workers: list[WorkerInfo]) -> None:
        self._info = info
        self._all = workers
        self.living = [one for one in workers if one.alive]
        self._lane = [one for one in self.living if info.lane in one.beat.lanes]
        # A worker that names no types has not told them: it is believed to have this one.
        self._able = [
            one for one in self._lane if not one.beat.types or info.type in one.beat.types
        ]
        self.willing = [
            one for one in self._able if not (one.quiet or one.stop or one.beat.draining)
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of the willing."""
        return _ids(self.willing)

    @property
    def free(self) -> int | None:
        """Free slots of the willing, by their last heartbeats; None if one does not tell."""
        if not all(one.beat.slots for one in self.willing):
            return None
        return sum(max(0, one.beat.slots - one.beat.running) for one in self.willing)

    def busy(self) -> Busy | None:
        """Said if no slot is free."""
        if not self.willing or self.free != 0:
            return None
        return Busy(
            slots=sum(one.beat.slots for one in self.willing),
            running=sum(one.beat.running for one in self.willing),
            workers=self.names,
        )

    def nobody(self, where: str) -> NoWorker | None:
        """Said if nobody is willing."""
        if self.willing:
            return None
        info = self._info
        if self._able:
            return NoWorker(
                cause="quiet",
                type=info.type,
                lane=info.lane,
                workers=_ids(self._able),
                where=where,
            )
        if self._lane:
            types = {name for one in self.living for name in one.beat.types}
            return NoWorker(
                cause="type",
                type=info.type,
                lane=info.lane,
                near=tuple(nearest(info.type, types)),
                workers=_ids(self._lane),
                where=where,
            )
        return self._none_of_the_lane(where)

    def _none_of_the_lane(self, where: str) -> NoWorker:
        """Somebody is registered, but nobody who lives serves the lane."""
        info = self._info
        dead = [one for one in self._all if info.lane in one.beat.lanes]  # none of them lives
        last = min(dead, key=lambda one: one.seen_ago, default=None)
        if last is None and not self.living:
            return NoWorker(cause="none", type=info.type, lane=info.lane, where=where)
        lanes = {name for one in self.living for name in one.beat.lanes}
        return NoWorker(
            cause="lane" if last is None else "dead",
            type=info.type,
            lane=info.lane,
            near=tuple(nearest(info.lane, lanes)),
            workers=() if last is None else (last.beat.worker,),
            seen_ago=None if last is None else last.seen_ago,
            type_served=any(info.type in one.beat.types for one in self.living),
            where=where,
        )


def _ids(workers: list[WorkerInfo]) -> tuple[str, ...]:
    return tuple(sorted(one.beat.worker for one in workers))
