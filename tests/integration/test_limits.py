"""Limits of lanes and keys, and pauses: several workers of one app in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack

import pytest

from support.workers import until, working
from xqueue_core import State, XQueue
from xqueue_core.calls import Pause, Resume

pytestmark = pytest.mark.anyio


class Gauge:
    """How many run at once, and the most there ever were."""

    def __init__(self) -> None:
        self.now: defaultdict[str, int] = defaultdict(int)
        self.most: defaultdict[str, int] = defaultdict(int)
        self.ran = 0

    async def run(self, name: str, seconds: float) -> None:
        """Count one that takes so long."""
        self.ran += 1
        self.now[name] += 1
        self.most[name] = max(self.most[name], self.now[name])
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now[name] -= 1


async def test_a_lane_never_exceeds_its_limit_and_uses_all_of_it(app: XQueue) -> None:
    gauge = Gauge()

    @app.task(max_concurrency=3)
    async def narrow() -> None:
        await gauge.run("narrow", 0.02)

    @app.task
    async def wide() -> None:
        await gauge.run("wide", 0.02)

    narrows = await app.submit_many(narrow.call() for _ in range(60))
    wides = await app.submit_many(wide.call() for _ in range(60))
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(working(app, concurrency=5))
        for handle in [*narrows, *wides]:
            await handle.result(30)
    assert gauge.most["narrow"] == 3
    assert gauge.most["wide"] > 3


async def test_a_limited_lane_is_not_starved_by_a_backlog_without_a_limit(app: XQueue) -> None:
    gauge = Gauge()

    @app.task
    async def flood() -> None:
        await gauge.run("flood", 0.01)

    @app.task(max_concurrency=2)
    async def trickle() -> None:
        await gauge.run("trickle", 0.01)

    await app.submit_many(flood.call() for _ in range(1500))
    async with working(app, concurrency=4):
        await until("the flood runs", lambda: gauge.ran > 20)
        for _ in range(5):
            await (await trickle.submit()).result(3)
        assert gauge.ran < 1400


async def test_a_limit_set_while_tasks_run_is_kept_within_a_second(app: XQueue) -> None:
    gauge = Gauge()

    @app.task
    async def free() -> None:
        await gauge.run("free", 0.05)

    handles = await app.submit_many(free.call() for _ in range(400))
    async with working(app, concurrency=20), app.connect() as connection:
        await until("many run at once", lambda: gauge.now["free"] > 10)
        semaphore = connection.faces.needed("semaphore")
        await semaphore.set_limit("lane:free", 2)
        await until("the limit is kept", lambda: 0 < gauge.now["free"] <= 2, 2.0)
        gauge.most.clear()
        ran = gauge.ran
        await until("more have run", lambda: gauge.ran > ran + 20)
        assert gauge.most["free"] == 2
        await semaphore.set_limit("lane:free", None)
        await until("many run again", lambda: gauge.now["free"] > 10)
        for handle in handles:
            await handle.result(30)


async def test_a_worker_without_work_gives_its_permits_to_others(app: XQueue) -> None:
    gauge = Gauge()

    @app.task(max_concurrency=2)
    async def shared() -> None:
        await gauge.run("shared", 0.01)

    async with working(app), working(app), app.connect() as connection:
        for _ in range(10):
            handles = await app.submit_many(shared.call() for _ in range(4))
            for handle in handles:
                await handle.result(10)
        semaphore = connection.faces.needed("semaphore")

        async def idle() -> bool:
            [info] = await semaphore.inspect(["lane:shared"])
            return not info.holders and not info.waiters

        await until("nobody holds or awaits a permit", idle)
    assert gauge.most["shared"] <= 2


async def test_a_key_never_exceeds_its_limit_and_holds_up_no_other(app: XQueue) -> None:
    gauge = Gauge()

    @app.task(key="user_{user}", key_concurrency=2)
    async def job(user: str, seconds: float) -> None:
        await gauge.run(user, seconds)

    crowd = await app.submit_many(job.call("a", 0.05) for _ in range(30))
    async with working(app, concurrency=10), working(app, concurrency=10):
        await until("the crowded key is saturated", lambda: gauge.now["a"] == 2)
        for handle in await app.submit_many(job.call("b", 0.0) for _ in range(4)):
            await handle.result(5)
        assert any([await handle.state() is not State.SUCCESS for handle in crowd])
        for handle in crowd:
            await handle.result(30)
    assert gauge.most["a"] == 2
    assert gauge.most["b"] <= 2
    infos = [await handle.info() for handle in crowd]
    parked = sum(one.how == "parked" for info in infos for one in info.history)
    assert parked <= 30, "a task that was let go found no permit"


async def test_keys_whose_workers_are_gone_move_on(app: XQueue) -> None:
    gauge = Gauge()

    @app.task(key="one", key_concurrency=1)
    async def serial(n: int) -> int:
        await gauge.run("one", 0.05)
        return n

    handles = await app.submit_many(serial.call(n) for n in range(8))
    async with working(app, grace=0.0):
        await until("some have run", lambda: gauge.ran >= 2)
    async with working(app):
        assert [await handle.result(20) for handle in handles] == list(range(8))
    assert gauge.most["one"] == 1


async def test_a_paused_lane_stands_still_and_others_go_on(app: XQueue) -> None:
    ran: list[int] = []
    release = asyncio.Event()

    @app.task
    async def held(n: int) -> None:
        ran.append(n)
        if n == 0:
            await release.wait()

    @app.task
    async def other() -> str:
        return "other"

    async with working(app, concurrency=1, prefetch=4), app.connect() as connection:
        handles = await app.submit_many(held.call(n) for n in range(3))
        await until("the first runs", lambda: ran)
        await connection.faces.queue.control([Pause(lane="held")])

        async def handed_back() -> bool:
            return [await one.state() for one in handles[1:]] == [State.PENDING] * 2

        await until("what was fetched ahead is handed back", handed_back)
        release.set()
        await handles[0].result(10)
        assert await (await other.submit()).result(10) == "other"
        assert ran == [0]
        await connection.faces.queue.control([Resume(lane="held")])
        for handle in handles:
            await handle.result(10)
    assert sorted(ran) == [0, 1, 2]
