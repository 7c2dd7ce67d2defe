"""An engine whose plugins are told what it does. Without plugins there is the plain one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from xqueue_core.calls import Leased, Settled
from xqueue_core.hooks import (
    Ended,
    How,
    WorkerLeased,
    WorkerStarted,
    WorkerStatus,
    WorkerStopped,
)
from xqueue_core.plugged import Plugged
from xqueue_core.task import AnyOutcome
from xqueue_core.worker import endings
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.fetcher import Asked
from xqueue_core.worker.job import Job

#: Seconds between two words about a worker's status.
EVERY = 1.0


class HookedEngine(Engine):
    """The same, but for what it tells."""

    def __init__(self, *arguments: Any, plugged: Plugged) -> None:
        self._plugged = plugged
        super().__init__(*arguments)

    def _arrived(self, asked: Asked, leased: Leased) -> None:
        super()._arrived(asked, leased)
        if self._plugged.heard:
            taken: dict[str, int] = {}
            for delivery in leased.deliveries:
                lane = delivery.task.lane
                taken[lane] = taken.get(lane, 0) + 1
            self._plugged.worker(WorkerLeased(self.worker, asked.limit, taken))

    def left(self, job: Job, outcome: AnyOutcome | None) -> None:
        super().left(job, outcome)
        if job.lost:  # it is not settled
            self._say(job, None)

    def _settled(self, job: Job, outcome: AnyOutcome, verdict: Settled) -> None:
        super()._settled(job, outcome, verdict)
        self._say(job, None if verdict is Settled.LOST else outcome)

    def _say(self, job: Job, outcome: AnyOutcome | None) -> None:
        if not self._plugged.ends:
            return
        started, queued = job.started > 0, 0.0
        if started and job.delivery.due_at:
            # By the broker's clock, as the worker knows it: the due time is of that one.
            at = self.keeper.time.now() - (self.tools.clock() - job.started)
            queued = max(0.0, at - job.delivery.due_at)
        self._plugged.ended(ended(job, outcome, self.worker, queued))

    async def statuses(self) -> None:
        """Tell how it is, until cancelled."""
        while True:
            self._status()
            await self.tools.sleep(EVERY)

    def _status(self) -> None:
        if not self._plugged.heard:
            return
        permits = dict.fromkeys(self.lanes, 0)
        running = 0
        for job in self.desk.active:
            running += job.started > 0
            if job.permit is not None:
                permits[job.lane] = permits.get(job.lane, 0) + 1
        self._plugged.worker(
            WorkerStatus(
                self.worker,
                self.desk.slots,
                running,
                len(self.desk.active) - running,
                len(self.desk.settling),
                permits,
            )
        )

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Within, the engine lives."""
        started = WorkerStarted(
            self.worker, tuple(self.lanes), tuple(sorted(self.specs)), self.desk.slots
        )
        self._plugged.worker(started)
        telling = asyncio.create_task(self.statuses())
        try:
            yield
        finally:
            telling.cancel()
            self._status()
            self._plugged.worker(WorkerStopped(self.worker))


def ended(job: Job, outcome: AnyOutcome | None, worker: str, queued: float) -> Ended:
    """What is told of a job that has ended so; None: it is lost."""
    task = job.delivery.task
    how = endings.how(job, outcome)
    return Ended(
        id=task.id,
        type=task.type,
        lane=task.lane,
        attempt=job.delivery.attempt,
        worker=worker,
        how=how,
        state=endings.state(how, outcome),
        final=how in endings.FINAL,
        started=job.started > 0,
        queued=queued,
        ran=job.ran,
        failure=endings.failure(outcome),
    )


__all__ = ["HookedEngine", "How", "ended"]
