"""Notices code that outlives its time-out and cannot be stopped: threads, and blocked loops."""

from __future__ import annotations

import logging
from collections.abc import Callable

from xqueue_core.worker.desk import Desk
from xqueue_core.worker.job import Job
from xqueue_core.worker.link import deadline
from xqueue_core.worker.options import WorkerOptions

logger = logging.getLogger("xqueue.worker")

#: How far beyond its time-out a job may be before it is called overdue (seconds): a coroutine
#: that was cancelled needs a moment to end.
SLACK = 1.0


class Watchman:
    """Looked at with each heartbeat, on the engine's loop: it works while handlers' loop hangs."""

    def __init__(self, desk: Desk, options: WorkerOptions, clock: Callable[[], float]) -> None:
        self._desk = desk
        self._grace = options.grace
        self._clock = clock
        self._known: set[Job] = set()

    def overdue(self) -> list[Job]:
        """Jobs that should have ended and have not; each is logged once."""
        late = self._since(SLACK)
        for job in late:
            if job not in self._known:
                timeout = job.delivery.task.process_timeout
                logger.warning("%s runs on beyond its time-out of %g s", job.id, timeout)
        self._known = set(late)
        return late

    def hopeless(self) -> list[Job]:
        """Jobs that have been overdue for the whole grace: only a new process helps."""
        return self._since(max(SLACK, self._grace)) if self._known else []

    def _since(self, slack: float) -> list[Job]:
        now = self._clock()
        return [job for job in self._desk.active if job.started and deadline(job) + slack < now]
