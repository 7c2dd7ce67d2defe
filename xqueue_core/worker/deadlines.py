"""Watches how long running jobs take, at no cost per job.

A timer per task would cost more than many a task. At most ``concurrency`` jobs run, so one
alarm for the earliest deadline is enough: when it goes off, all of them are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set

from xqueue_core.worker.host import Host, Stoppable
from xqueue_core.worker.job import Job

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
            self._expired(job)
        self._arm(min((job.deadline for job in self._running), default=math.inf))
