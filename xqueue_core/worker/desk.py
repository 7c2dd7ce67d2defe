"""What this worker has on its desk: the deliveries it holds, and how many more fit."""

from __future__ import annotations

from collections.abc import Collection

from xqueue_core.calls import Held
from xqueue_core.handlers import Kind
from xqueue_core.worker.job import Job

#: Kinds of which fewer can run than there are slots.
SCARCE = (Kind.THREAD, Kind.PROCESS)


class Desk:
    """Jobs that have a slot, jobs whose outcome is being settled, and the room that is left.

    Used on the engine's loop only.
    """

    def __init__(self, slots: int, prefetch: int, threads: int, children: int = 1) -> None:
        self.slots = slots
        self.prefetch = prefetch
        self._threads = threads
        self._children = children
        self._threads_ahead = min(prefetch, threads // 4)
        self._children_ahead = min(prefetch, max(1, children // 4))
        self.active: set[Job] = set()
        self.settling: set[Job] = set()
        self._threaded = 0
        self._isolated = 0
        #: True while nothing may come: one waits to be alone here, or is.
        self.solitary = False

    def take(self, job: Job) -> None:
        """A delivery has come."""
        self.active.add(job)
        self._count(job.spec.kind, 1)
        job.waits = job.alone

    def leave(self, job: Job) -> None:
        """Its slot is free again; what is left is to settle it, unless it is lost."""
        self.active.remove(job)
        self._count(job.spec.kind, -1)
        if not job.lost:
            self.settling.add(job)

    @property
    def room(self) -> int:
        """How many deliveries may be fetched: free slots and the prefetch."""
        if self.solitary:
            return 0
        return max(0, self.slots + self.prefetch - len(self.active))

    @property
    def free(self) -> int:
        """Free slots, beyond what is here already."""
        return max(0, self.slots - len(self.active))

    def room_of(self, kind: Kind) -> int:
        """How many deliveries for handlers of a kind may be fetched: a few beyond what can run."""
        room = self.room
        if kind is Kind.THREAD:
            room = min(room, self._threads + self._threads_ahead - self._threaded)
        elif kind is Kind.PROCESS:
            room = min(room, self._children + self._children_ahead - self._isolated)
        return max(0, room)

    def capacity(self, kind: Kind | None = None) -> int:
        """How many can run at once, in all or of a kind."""
        if kind is Kind.THREAD:
            return min(self.slots, self._threads)
        if kind is Kind.PROCESS:
            return min(self.slots, self._children)
        return self.slots

    def startable(self, kind: Kind | None, waiting: Collection[Job]) -> int:
        """How many more could start now, in all or of a kind, if those that wait here did not.

        Negative where more are here than can run. ``waiting`` must be on the desk.
        """
        here, apart = len(self.active), len(waiting)
        if kind in SCARCE:
            here = self._threaded if kind is Kind.THREAD else self._isolated
            apart = sum(job.spec.kind is kind for job in waiting)
        return self.capacity(kind) - here + apart

    def _count(self, kind: Kind, by: int) -> None:
        if kind is Kind.THREAD:
            self._threaded += by
        elif kind is Kind.PROCESS:
            self._isolated += by

    def held(self) -> tuple[list[Job], list[Held]]:
        """Everything a heartbeat must name: what runs or waits here, and settles under way."""
        jobs = [job for job in self.active if not job.lost]
        jobs.extend(self.settling)
        return jobs, held(jobs)

    def running(self) -> int:
        """How many have started."""
        return sum(1 for job in self.active if job.started)


def held(jobs: Collection[Job]) -> list[Held]:
    """The jobs as a heartbeat names them."""
    return [Held(job.delivery.task.id, job.delivery.token, job.waits) for job in jobs]
