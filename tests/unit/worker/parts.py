"""The engine's parts around a fake queue, on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import Any

from support.apps import make_app
from support.fake_queue import FakeQueue, delivery
from support.virtual import tools
from xqueue_core.calls import Leased
from xqueue_core.handlers import HandlerSpec
from xqueue_core.permits import Request
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.fetcher import Asked, Fetcher
from xqueue_core.worker.job import Job
from xqueue_core.worker.lane import UNLIMITED
from xqueue_core.worker.options import WorkerOptions

OPTIONS = WorkerOptions(concurrency=4, prefetch=2, threads=2)


def specs() -> dict[str, HandlerSpec]:
    """An async handler, ``job``, a plain one, ``plain``, and one in a process, ``isolated``."""
    app = make_app()

    @app.task
    async def job() -> None: ...

    @app.task
    def plain() -> None: ...

    @app.task(isolation="process")
    def isolated() -> None: ...

    return dict(app.handlers)


def make_job(name: str = "job", lane: str = "job", **fields: Any) -> Job:
    """A job of one of the handlers."""
    return Job(delivery(name, lane, **fields), specs()[lane])


class FakeLimiter:
    """What the fetcher asks of a limiter."""

    def __init__(self) -> None:
        self.idle = False
        self.allowed: dict[str, int | None] = {}
        self.patient: set[str] = set()  # lanes for whose tasks a call may wait all the same

    def limited(self, lane: str) -> bool:
        """True if something was scripted for the lane."""
        return lane in self.allowed and lane not in self.patient

    def allowance(self, lane: str) -> int | None:
        """As scripted; without a limit otherwise."""
        return self.allowed.get(lane, UNLIMITED)


class Fetching:
    """A fetcher over a fake queue, whose deliveries go to a desk."""

    def __init__(self, *lanes: str, **options: Any) -> None:
        """``lanes`` are named like the handlers, or ``"a+b"`` for one with tasks of ``a``."""
        self.queue = FakeQueue()
        self.options = WorkerOptions(**{"concurrency": 4, "prefetch": 2, "threads": 2, **options})
        self.desk = Desk(
            self.options.concurrency,
            self.options.prefetch,
            self.options.threads,
            self.options.children,
        )
        self.limiter = FakeLimiter()
        self.jobs: list[Job] = []
        self.answers: list[tuple[Asked, Leased]] = []
        self.registered = 0
        self.braked = False
        self.spell = 1
        self._specs = specs()
        self.fetcher = Fetcher(
            self.queue,
            "w~1",
            {
                lane: {self._specs[name].kind for name in lane.split("+")}
                for lane in lanes or ("job",)
            },
            self.desk,
            self.limiter,  # type: ignore[arg-type]
            self.options,
            tools(),
            self._arrived,
            self._register,
            lambda: self.braked,
            lambda: self.spell,
        )
        self.task = asyncio.create_task(self.fetcher.run())

    def _arrived(self, asked: Asked, leased: Leased) -> None:
        self.answers.append((asked, leased))
        for one in leased.deliveries:
            job = Job(one, self._specs[one.task.lane.partition("+")[0]])
            self.jobs.append(job)
            self.desk.take(job)

    async def _register(self) -> None:
        self.registered += 1

    async def close(self) -> None:
        """End the fetcher."""
        self.fetcher.close()
        await self.task


async def settle_down(turns: int = 20) -> None:
    """Let everything that is ready happen; no time passes."""
    for _ in range(turns):
        await asyncio.sleep(0)


def request(name: str, key: str = "lane:job") -> Request:
    """A request of this worker."""
    return Request(id=name, key=key, worker="w~1")
