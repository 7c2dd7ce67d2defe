"""Runs coroutine functions: each a task of the handlers' loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from xqueue_core.task import AnyOutcome, Canceled, HandBack
from xqueue_core.worker.bodies import Bodies
from xqueue_core.worker.host import Host
from xqueue_core.worker.job import Job, Stage, Told
from xqueue_core.worker.outcomes import of_unstarted
from xqueue_core.worker.told import Runs

#: Takes each job that ended, and its outcome.
Ended = Callable[[Job, AnyOutcome | None], None]
#: True if a job may begin; asked at its first step.
Begins = Callable[[Job], bool]


class Coroutines:
    """A :class:`~xqueue_core.worker.runner.Runner` on the handlers' loop itself.

    Args:
        most: how many may run at once.
        enter: what is awaited for a job; its result is the handler's.
        runs: tells plugins of each run.
    """

    def __init__(
        self,
        most: int,
        host: Host,
        bodies: Bodies,
        begins: Begins,
        ended: Ended,
        enter: Callable[[Job], Awaitable[Any]] | None = None,
        runs: Runs | None = None,
    ) -> None:
        self._runs = runs
        self._spawn = host.spawn
        self._bodies = bodies
        self._fresh = bodies.fresh
        self._enter = enter or bodies.call
        self._begins = begins
        self._ended = ended
        self.free = most

    def start(self, job: Job) -> None:
        """Run it, from the loop's next turn on."""
        self.free -= 1
        job.task = self._spawn(self._run(job), self._fresh())

    def tell(self, job: Job) -> None:
        """Cancel it. One that has not begun is asked then: it must not go unreported."""
        if job.task is not None and job.entered:
            job.task.cancel()

    def close(self) -> None:
        """Nothing is left: what still runs was told, and belongs to its loop."""

    async def _run(self, job: Job) -> None:
        # At its first step, for another job's may have kept the loop since it was started.
        outcome = await self._begun(job) if self._begins(job) else barred(job)
        self.free += 1
        job.task = None  # a finished task and its job would keep each other alive
        self._ended(job, outcome)

    async def _begun(self, job: Job) -> AnyOutcome | None:
        outcome: AnyOutcome | None
        visit = None if self._runs is None else self._runs.enter(job)
        try:
            job.entered = True
            value = await self._enter(job)
            outcome = self._bodies.returned(job, value)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: the worker goes on
            outcome = self._bodies.raised(job, error)
            if visit is not None:
                visit.error = error
        if visit is not None:
            visit.leave(outcome)
        return outcome


def barred(job: Job) -> AnyOutcome | None:
    """What becomes of a job that must not begin; None if that is decided elsewhere."""
    if job.lost or job.stage is Stage.ENDED:
        return None
    if job.told is not Told.NOTHING:
        return of_unstarted(job.told)
    # It is canceled, or the lease is stale and it may have been given to another worker by now.
    return Canceled() if job.canceled else HandBack(reason=job.recalled or "stale")
