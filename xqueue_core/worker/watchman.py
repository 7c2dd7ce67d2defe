"""Notices code that outlives its time-out and cannot be stopped: threads, and blocked loops.

And plugins that keep the thread of a plain function after it has returned: they have no time-out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from xqueue_core.worker.desk import Desk
from xqueue_core.worker.job import Job
from xqueue_core.worker.link import deadline, held
from xqueue_core.worker.options import WorkerOptions

logger = logging.getLogger("xqueue.worker")

#: How far beyond its time-out a job may be before it is called overdue (seconds): a coroutine
#: that was cancelled needs a moment to end, and so do plugins when a plain function has returned.
SLACK = 1.0


class Watchman:
    """Looked at with each heartbeat, on the engine's loop: it works while handlers' loop hangs."""

    def __init__(self, desk: Desk, options: WorkerOptions, clock: Callable[[], float]) -> None:
        self._desk = desk
        self._grace = options.grace
        self._clock = clock
        self._known: set[tuple[Job, bool]] = set()

    def overdue(self) -> list[Job]:
        """Jobs that should have ended and have not; each is logged once, and once more if plugins
        keep it after that."""
        late = self._since(SLACK)
        known = {(job, held(job) is not None) for job in late}
        for job, by_plugins in known - self._known:
            if by_plugins:
                logger.warning(
                    "%s: its handler returned; plugins keep its thread, in run()", job.id
                )
            else:
                timeout = job.delivery.task.process_timeout
                logger.warning("%s runs on beyond its time-out of %g s", job.id, timeout)
        self._known = known
        return late

    def hopeless(self) -> list[Job]:
        """Jobs that have been overdue for the whole grace: only a new process helps."""
        return self._since(max(SLACK, self._grace)) if self._known else []

    def _since(self, slack: float) -> list[Job]:
        now = self._clock()
        return [
            job
            for job in self._desk.active
            if job.started and not job.over and _due(job) + slack < now
        ]


def _due(job: Job) -> float:
    """By when its code should have ended; inf if nothing says so."""
    left = held(job)
    return deadline(job) if left is None else left
