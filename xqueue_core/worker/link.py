"""What ties a handler's context to the job that runs it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xqueue_core.handlers import Kind
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
        now = self._clock() if job.still is None else job.still
        return max(0.0, job.started + job.spared + timeout - now)

    def report(self, progress: Progress) -> None:
        """Keep the latest progress."""
        self._reporter.report(self._job, progress)


def deadline(job: Job) -> float:
    """When a job that has started must end, by the steady clock; never while its time stands still:
    nothing of its own runs then."""
    timeout = job.delivery.task.process_timeout
    if timeout is None or job.still is not None:
        return math.inf
    return job.started + job.spared + timeout


def held(job: Job) -> float | None:
    """Since when, by the steady clock, plugins alone have kept the thread of a plain function that
    has returned; inf when they have left it, None if it has not returned into plugins there."""
    if job.spec.kind is not Kind.THREAD or job.against is not None:
        return None  # a child process sees to its plugins; below middleware they are not there
    return job.still
