"""Two workers under one id, and workers whose wall clock is wrong."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import pytest

from support.workers import TIMES, until, working
from xqueue_core import Context, RetryPolicy, State, TaskTimedOut, XQueue
from xqueue_core.errors import WorkerIdTaken
from xqueue_core.worker import Exit, Worker
from xqueue_core.worker.tools import Tools

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One event loop: none of this is about loops."""
    return "asyncio"


async def test_a_second_worker_under_a_living_ones_id_is_refused(app: XQueue) -> None:
    """The first goes on as if nothing had happened."""
    starts: list[str] = []
    release = asyncio.Event()

    @app.task
    async def job(ctx: Context) -> None:
        starts.append(ctx.id)
        await release.wait()

    async with working(app, concurrency=50) as first:
        handles = [await job.submit() for _ in range(20)]
        await until("all run", lambda: len(starts) == 20)
        second = Worker(app, **TIMES)
        second.id = first.id
        with pytest.raises(WorkerIdTaken, match=first.id):
            await second.run()
        assert second.exit is None
        handles += [await job.submit() for _ in range(20)]
        await until("the first takes more", lambda: len(starts) == 40)
        release.set()
        for handle in handles:
            await handle.result(10)
            info = await handle.info()
            assert [one.how for one in info.history] == ["success"]
    assert len(set(starts)) == len(starts)


async def test_two_workers_that_start_at_once_under_one_id(app: XQueue) -> None:
    starts: list[str] = []

    @app.task
    async def job(ctx: Context) -> None:
        starts.append(ctx.id)
        await asyncio.sleep(0.5)

    handles = [await job.submit() for _ in range(40)]
    workers = [Worker(app, concurrency=10, **TIMES) for _ in range(2)]
    workers[1].id = workers[0].id
    runs = [asyncio.create_task(one.run()) for one in workers]
    for handle in handles:
        await handle.result(20)
        assert [one.how for one in (await handle.info()).history] == ["success"]
    for one in workers:
        one.stop()
    ends = await asyncio.gather(*runs, return_exceptions=True)
    assert sorted(map(str, map(type, ends))) == sorted(map(str, [Exit, WorkerIdTaken]))
    assert len(set(starts)) == len(starts) == 40


async def test_an_id_is_free_again_when_its_worker_has_left(app: XQueue) -> None:
    @app.task
    async def job() -> int:
        return 7

    async with working(app) as first:
        assert await (await job.submit()).result(10) == 7
    second = Worker(app, **TIMES)
    second.id = first.id
    running = asyncio.create_task(second.run())
    assert await (await job.submit()).result(10) == 7
    second.stop()
    assert await running is Exit.STOPPED


async def test_wall_clocks_that_are_an_hour_wrong_change_nothing(app: XQueue) -> None:
    """Delays, retries, leases, limits and time-outs go by the broker's clock, or by none."""
    running = most = 0

    @app.task(process_timeout=0.3, max_retry=0)
    async def long() -> None:
        await asyncio.sleep(30)

    @app.task(max_retry=1, retry=RetryPolicy(base=0.5))
    async def twice(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise ValueError("again")
        return ctx.attempt

    @app.task(max_concurrency=2)
    async def limited() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.2)
        running -= 1

    @app.task
    async def quick() -> float:
        return time.time()

    slow, fast = (Tools(wall=partial(_wrong, by)) for by in (-3600.0, 3600.0))
    times = {"lease": 1.5, "heartbeat": 0.1}
    async with working(app, tools=slow, **times), working(app, tools=fast, **times):
        begun = time.time()
        late = await quick.options(delay=0.7).submit()
        assert 0.7 <= await late.result(10) - begun < 3.0
        fresh = await quick.options(queue_timeout=2.0).submit()
        assert await fresh.result(10)
        with pytest.raises(TaskTimedOut):
            await (await long.submit()).result(10)
        assert await (await twice.submit()).result(10) == 2
        for handle in [await limited.submit() for _ in range(8)]:
            await handle.result(10)
        assert most == 2
        steady = await long.options(process_timeout=None).submit()
        await until("it runs", lambda: _state(steady, State.PROCESSING))
        begun = time.time()
        await until("more than a lease passes", lambda: time.time() - begun > 2.0)
        info = await steady.info()
        assert (info.state, info.losses) == (State.PROCESSING, 0)
        await steady.cancel()


def _wrong(by: float) -> float:
    return time.time() + by


async def _state(handle: Any, state: State) -> bool:
    return (await handle.state()) is state
