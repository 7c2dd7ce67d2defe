"""A limiter over a fake semaphore."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from support.fake_semaphore import FakeSemaphore
from support.virtual import tools
from unit.worker.parts import make_job, settle_down
from xqueue_core.handlers import Kind
from xqueue_core.permits import Answer, Keep, Permit, Request
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.job import Job
from xqueue_core.worker.limiter import Limiter
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.permits import PermitDesk

if TYPE_CHECKING:
    from xqueue_core.abc import TaskView


class Limiting:
    """A limiter over a fake semaphore; this test leases and renews."""

    def __init__(
        self,
        semaphore: FakeSemaphore,
        kinds: Collection[Kind] = (Kind.COROUTINE,),
        view: TaskView | None = None,
        **options: Any,
    ) -> None:
        self.options = WorkerOptions(**{"concurrency": 4, "prefetch": 0, **options})
        self.semaphore = semaphore
        self.desk = Desk(self.options.concurrency, self.options.prefetch, 2)
        self.tools = tools()
        self.permits = PermitDesk(semaphore, "w~1", self.options, self.tools)
        self.pokes = 0
        self.resting = self.shut = False
        self.entered: list[Job] = []
        self.refused: list[Job] = []
        lanes: dict[str, int | None] = {"job": 3, "plain": None}
        self.limiter = Limiter(
            semaphore,
            self.permits,
            self.desk,
            lanes,
            dict.fromkeys(lanes, kinds),
            self.options,
            self.tools,
            self._poke,
            self.entered.append,
            lambda job, outcome: self.refused.append(job),
            lambda: self.resting,
            lambda: self.resting or self.shut,
            view,
        )
        self.released: list[Permit] = []
        self.told: list[tuple[str, Keep]] = []
        self.tasks = [
            asyncio.create_task(self.limiter.run()),
            asyncio.create_task(self.permits.run(self.released.extend)),
        ]

    def _poke(self) -> None:
        self.pokes += 1

    def _told(self, grip: Grip, keep: Keep) -> None:
        self.told.append((grip.permit.id, keep))
        if grip.job is None:
            self.limiter.dropped(grip)
            if keep is Keep.YIELD:
                self.permits.release(grip)

    async def renew(self) -> list[str]:
        """Renew once; the lanes that have become limited."""
        versions = await self.permits.renew(self.limiter.keys, self._told)
        fresh = self.limiter.seen(versions)
        self.limiter.open()
        await settle_down()
        return fresh

    def take(self, name: str) -> Job:
        """A delivery comes."""
        job = make_job(name)
        self.desk.take(job)
        assert self.limiter.take(job)
        return job

    async def end(self, job: Job) -> None:
        """It ends."""
        self.desk.leave(job)
        self.desk.settling.discard(job)
        self.limiter.freed(job)
        await settle_down()

    @property
    def held(self) -> int:
        """Permits that the semaphore counts for the lane."""
        return len(self.semaphore.holders["lane:job"])


class Late(FakeSemaphore):
    """A cancelled ``acquire`` takes effect all the same, some time later."""

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        try:
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            await super().acquire(requests, 0.0)
            raise
        return await super().acquire(requests, 0.0)
