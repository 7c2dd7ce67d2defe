"""Runs coroutine functions: each a task of the handlers' loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from xqueue_core.task import AnyOutcome
from xqueue_core.worker.bodies import Bodies
from xqueue_core.worker.host import Host
from xqueue_core.worker.job import Job, Stage, Told
from xqueue_core.worker.outcomes import of_unstarted
from xqueue_core.worker.told import Runs

#: Takes each job that ended, and its outcome.
Ended = Callable[[Job, AnyOutcome | None], None]


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
        ended: Ended,
        enter: Callable[[Job], Awaitable[Any]] | None = None,
        runs: Runs | None = None,
    ) -> None:
        self._runs = runs
        self._spawn = host.spawn
        self._bodies = bodies
        self._fresh = bodies.fresh
        self._enter = enter or bodies.call
        self._ended = ended
        self.free = most

    def start(self, job: Job) -> None:
        """Run it, from the loop's next turn on."""
        self.free -= 1
        job.task = self._spawn(self._run(job), self._fresh())

    def tell(self, job: Job) -> None:
        """Cancel it. One that was not entered looks for itself: it must not go unreported."""
        if job.task is not None and job.entered:
            job.task.cancel()

    def close(self) -> None:
        """Nothing is left: what still runs was told, and belongs to its loop."""

    async def _run(self, job: Job) -> None:
        outcome: AnyOutcome | None
        visit = None if self._runs is None else self._runs.enter(job)
        try:
            if job.told is not Told.NOTHING or job.stage is Stage.ENDED:
                raise asyncio.CancelledError
            job.entered = True
            value = await self._enter(job)
            outcome = self._bodies.returned(job, value)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: the worker goes on
            # Told to stop between its start and its first step: nothing of it has run.
            never = job.told is Told.STOP and not job.entered
            outcome = of_unstarted(job.told) if never else self._bodies.raised(job, error)
            if visit is not None:
                visit.error = error
        if visit is not None:
            visit.leave(outcome)
        self.free += 1
        job.task = None  # a finished task and its job would keep each other alive
        self._ended(job, outcome)
