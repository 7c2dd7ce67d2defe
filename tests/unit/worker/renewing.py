"""A renewal over a fake semaphore, which may lose all it has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from support.fake_semaphore import FakeSemaphore
from support.virtual import tools
from unit.worker.parts import OPTIONS, make_job, settle_down
from xqueue_core.permits import Keep
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.job import Job, Recall, Stage
from xqueue_core.worker.keys import Keys
from xqueue_core.worker.limiter import Limiter
from xqueue_core.worker.permits import PermitDesk
from xqueue_core.worker.renewal import Renewal


class Renewing:
    """A renewal over a fake semaphore, with all that has permits."""

    def __init__(
        self,
        semaphore: FakeSemaphore,
        view: Any = None,
        lanes: Mapping[str, int | None] = MappingProxyType({"job": 3}),
    ) -> None:
        self.semaphore = semaphore
        own = tools()
        self.desk = Desk(4, 0, 2)
        self.permits = PermitDesk(semaphore, "w~1", OPTIONS, own)
        self.started: list[Job] = []
        self.keys = Keys(
            semaphore, self.permits, OPTIONS, own, self.started.append, lambda job, outcome: None
        )
        self.limiter = Limiter(
            semaphore,
            self.permits,
            self.desk,
            lanes,
            dict.fromkeys(lanes, ()),
            OPTIONS,
            own,
            lambda: None,
            self.started.append,
            lambda job, outcome: None,
            lambda: False,
            lambda: False,
            view,
        )
        self.recalled: list[Recall] = []
        self.overdue: list[Recall] = []
        self.renewal = Renewal(
            semaphore,
            self.permits,
            self.limiter,
            self.keys,
            self.desk,
            OPTIONS,
            self.recalled.append,
            lambda: self.overdue,
        )
        self.tasks = [
            asyncio.create_task(self.limiter.run()),
            asyncio.create_task(self.keys.run()),
            asyncio.create_task(self.permits.run(lambda permits: None)),
        ]

    async def renew(self) -> None:
        """Renew once, and let follow what follows."""
        await self.renewal.renew()
        await settle_down()

    def runs(self, name: str, **fields: Any) -> Job:
        """A job that runs without a permit."""
        job = make_job(name, **fields)
        self.desk.take(job)
        job.started = 1.0
        return job

    def takes(self, name: str) -> Job:
        """A job that runs under a permit."""
        job = self.runs(name)
        assert self.limiter.take(job)
        return job

    async def end(self, job: Job) -> None:
        """It ends."""
        job.stage = Stage.ENDED
        self.desk.leave(job)
        self.desk.settling.discard(job)
        self.limiter.freed(job)
        self.keys.freed(job)
        await settle_down()

    def counted(self, key: str = "lane:job") -> set[str]:
        """The permits that the semaphore counts."""
        return set(self.semaphore.holders[key])


def forget(semaphore: FakeSemaphore) -> None:
    """Lose everything."""
    semaphore.verdicts = {id: Keep.LOST for held in semaphore.holders.values() for id in held}
    for mapping in (semaphore.limits, semaphore.versions, semaphore.holders, semaphore.declared):
        mapping.clear()
