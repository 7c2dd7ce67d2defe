"""Watches how long running jobs take, at no cost per job.

A timer per task would cost more than many a task. At most ``concurrency`` jobs run, so one
alarm for the earliest deadline is enough: when it goes off, all of them are looked at.

The time of a job stands still from when its handler has returned elsewhere, in a thread or a child
process, until that is told to what surrounds the handler here: it is neither's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set

from xqueue_core.worker.host import Host, Stoppable
from xqueue_core.worker.job import Job, Told
from xqueue_core.worker.link import deadline

#: Looks are at least this far apart, which bounds what many different deadlines cost (seconds).
RESOLUTION = 0.01


class Deadlines:
    """Calls ``expired`` for each running job whose deadline has passed, once."""

    def __init__(
        self,
        running: Set[Job],
        host: Host,
        clock: Callable[[], float],
        expired: Callable[[Job], None],
    ) -> None:
        self._running = running
        self._host = host
        self._clock = clock
        self._expired = expired
        self._next = math.inf
        self._alarm: Stoppable | None = None

    def watch(self, deadline: float) -> None:
        """A job with this deadline has started."""
        if deadline < self._next:
            self._arm(deadline)

    def rest(self, job: Job, since: float) -> None:
        """Let its time stand still: its handler has returned, by the steady clock at ``since``."""
        if job.told is Told.TIMEOUT and since <= deadline(job):
            job.told = Told.NOTHING  # the handler was not late, but word of it
        job.rest(since)

    def resume(self, job: Job) -> None:
        """Let its time go on, if it stands still."""
        if job.still is None:
            return
        job.spared += max(0.0, self._clock() - job.still)
        job.still = None
        if job.told is Told.NOTHING and (due := deadline(job)) < math.inf:
            job.deadline = due
            self.watch(due)

    def close(self) -> None:
        """Watch no more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _arm(self, at: float) -> None:
        self.close()
        self._next = at
        if at < math.inf:
            wait = max(RESOLUTION, at - self._clock())
            self._alarm = self._host.later(wait, self._look)

    def _look(self) -> None:
        now = self._clock()
        late = [job for job in self._running if job.deadline <= now]
        for job in late:
            job.deadline = math.inf
            if job.still is None:
                self._expired(job)
        self._arm(min((job.deadline for job in self._running), default=math.inf))
