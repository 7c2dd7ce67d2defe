"""What ties a handler's context to the job that runs it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xqueue_core.worker.job import Job, Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from xqueue_core.task import Progress
    from xqueue_core.worker.progress import Reporter


class Link:
    """A :class:`~xqueue_core.context.Run`: one running job, for its handler."""

    __slots__ = ("_clock", "_job", "_reporter")

    def __init__(self, job: Job, clock: Callable[[], float], reporter: Reporter) -> None:
        self._job = job
        self._clock = clock
        self._reporter = reporter

    def told(self) -> bool:
        """True once the job was told to end; having looked, a plain function decides its end."""
        if self._job.told is Told.NOTHING:
            return False
        self._job.noticed = True
        return True

    def left(self) -> float | None:
        """Seconds until the time-out."""
        job = self._job
        timeout = job.delivery.task.process_timeout
        if timeout is None:
            return None
        return max(0.0, job.started + timeout - self._clock())

    def report(self, progress: Progress) -> None:
        """Keep the latest progress."""
        self._reporter.report(self._job, progress)


def deadline(job: Job) -> float:
    """When a job that has started must end, by the steady clock."""
    timeout = job.delivery.task.process_timeout
    return math.inf if timeout is None else job.started + timeout
