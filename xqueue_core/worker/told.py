"""Tells plugins of each run of a handler; only workers of apps with plugins have one."""

from __future__ import annotations

from collections.abc import Callable

from xqueue_core.handlers import Kind
from xqueue_core.hooks import Running
from xqueue_core.plugged import Inside, Plugged
from xqueue_core.task import AnyOutcome
from xqueue_core.worker import endings
from xqueue_core.worker.job import Job

_KINDS = {Kind.COROUTINE: "coroutine", Kind.THREAD: "thread", Kind.PROCESS: "process"}


class Runs:
    """Made for one worker. Nothing here raises."""

    def __init__(self, plugged: Plugged, worker: str, clock: Callable[[], float]) -> None:
        self._plugged = plugged
        self._worker = worker
        self._clock = clock

    def enter(self, job: Job) -> Visit:
        """Its handler is about to run, in this context."""
        return Visit(job, self._clock, self._plugged, self._worker)


class Visit:
    """One run, and what the plugins have entered around it."""

    __slots__ = ("_clock", "_inside", "_job", "error", "run")

    def __init__(self, job: Job, clock: Callable[[], float], plugged: Plugged, worker: str) -> None:
        self._job = job
        self._clock = clock
        self.error: BaseException | None = None
        self.run: Running | None = None
        self._inside: Inside | None = None
        if not plugged.runs:
            return
        self.run, self._inside = plugged.enter(job.delivery, worker, _KINDS[job.spec.kind])
        job.carried = plugged.carried(self.run)

    def leave(self, outcome: AnyOutcome | None) -> None:
        """It has ended so. In the context in which it was entered."""
        job = self._job
        until = self._clock() if job.still is None else job.still
        job.ran = max(0.0, until - job.started - job.spared)
        error, self.error = self.error, None  # its traceback may hold this very object
        if self.run is None or self._inside is None:
            return
        self.run.how = endings.how(job, outcome)
        self.run.outcome = outcome
        self.run.failure = endings.failure(outcome)
        self.run.error = error
        self._inside.leave(error)
        self.run.error = None
