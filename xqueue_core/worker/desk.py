"""What this worker has on its desk: the deliveries it holds, and how many more fit."""

from __future__ import annotations

from collections.abc import Collection

from xqueue_core.calls import Held
from xqueue_core.worker.job import Job


class Desk:
    """Jobs that have a slot, jobs whose outcome is being settled, and the room that is left.

    Used on the engine's loop only.
    """

    def __init__(self, slots: int, prefetch: int, threads: int) -> None:
        self.slots = slots
        self.prefetch = prefetch
        self.threads = threads
        self.active: set[Job] = set()
        self.settling: set[Job] = set()
        self._threaded = 0
        self._alone = 0

    def take(self, job: Job) -> None:
        """A delivery has come."""
        self.active.add(job)
        if not job.spec.is_async:
            self._threaded += 1
        if job.alone:
            self._alone += 1

    def leave(self, job: Job) -> None:
        """Its slot is free again; what is left is to settle it, unless it is lost."""
        self.active.remove(job)
        if not job.spec.is_async:
            self._threaded -= 1
        if job.alone:
            self._alone -= 1
        if not job.lost:
            self.settling.add(job)

    @property
    def room(self) -> int:
        """How many deliveries may be fetched: free slots and the prefetch."""
        if self._alone:
            return 0
        return max(0, self.slots + self.prefetch - len(self.active))

    @property
    def free(self) -> int:
        """Free slots, beyond what is here already."""
        return max(0, self.slots - len(self.active))

    @property
    def thread_room(self) -> int:
        """How many deliveries for plain functions may be fetched."""
        ahead = min(self.prefetch, self.threads // 4)
        return max(0, min(self.room, self.threads + ahead - self._threaded))

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
    return [Held(job.delivery.task.id, job.delivery.token) for job in jobs]
