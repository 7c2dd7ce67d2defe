"""The semaphore in another broker than the queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from support.apps import make_app
from support.workers import until, working
from xqueue_core import XQueue
from xqueue_core.calls import Pause, Resume
from xqueue_memory import MemoryBackend

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory-sqlite", "sqlite-memory", "sqlite-sqlite"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[XQueue]:
    """An app with two brokers: the queue's, and the semaphore's."""
    urls = [
        "memory://" if name == "memory" else f"sqlite:///{tmp_path / f'{n}.db'}"
        for n, name in enumerate(request.param.split("-"))
    ]
    async with make_app(urls[0], semaphore_url=urls[1]) as opened:
        yield opened


class Gauge:
    """How many run at once, and the most there ever were."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.ran: Counter[str] = Counter()

    async def run(self, name: str, until: float | asyncio.Event) -> None:
        """Count one that takes so long, or until that."""
        self.now[name] += 1
        self.most[name] = max(self.most[name], self.now[name])
        try:
            await (until.wait() if isinstance(until, asyncio.Event) else asyncio.sleep(until))
            self.ran[name] += 1
        finally:
            self.now[name] -= 1


async def test_lanes_and_keys_keep_their_limits(app: XQueue) -> None:
    gauge = Gauge()

    @app.task(max_concurrency=3)
    async def lane() -> None:
        await gauge.run("lane", 0.02)

    @app.task(key="{user}", key_concurrency=2)
    async def keyed(user: str) -> None:
        await gauge.run(user, 0.02)

    lanes = await app.submit_many(lane.call() for _ in range(60))
    keys = await app.submit_many(keyed.call(f"u{n % 3}") for n in range(60))
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(working(app, concurrency=8))
        for handle in [*lanes, *keys]:
            await handle.result(30)
    assert gauge.most == {"lane": 3, "u0": 2, "u1": 2, "u2": 2}
    infos = [await handle.info() for handle in keys]
    assert any(one.how == "parked" for info in infos for one in info.history)


async def test_a_pause_that_the_semaphore_knows_nothing_of(app: XQueue) -> None:
    gauge = Gauge()

    @app.task(max_concurrency=2)
    async def lane() -> None:
        await gauge.run("lane", 0.05)

    handles = await app.submit_many(lane.call() for _ in range(30))
    async with working(app), working(app), app.connect() as connection:
        await until("the lane is full", lambda: gauge.now["lane"] == 2)
        await connection.faces.queue.control([Pause("lane")])
        semaphore = connection.faces.needed("semaphore")

        async def quiet() -> bool:
            [info] = await semaphore.inspect(["lane:lane"])
            return not (gauge.now["lane"] or info.holders or info.waiters)

        await until("nothing runs and nobody holds a permit", quiet)
        ran = gauge.ran["lane"]
        await connection.faces.queue.control([Resume("lane")])
        await until("it goes on", lambda: gauge.ran["lane"] > ran)
        for handle in handles:
            await handle.result(30)
    assert gauge.most["lane"] == 2


@pytest.mark.parametrize("app", ["sqlite-memory"], indirect=True)
async def test_a_semaphore_that_loses_its_data_is_told_again(
    app: XQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """Limits are declared again, what runs is counted again, and no limit is exceeded."""
    gauge = Gauge()

    @app.task(max_concurrency=3)
    async def lane() -> None:
        await gauge.run("lane", 0.15)

    @app.task(key="one", key_concurrency=1)
    async def keyed() -> None:
        await gauge.run("one", 0.15)

    def more_than(ran: int) -> bool:
        return gauge.ran["lane"] > ran

    lanes = await app.submit_many(lane.call() for _ in range(60))
    keys = await app.submit_many(keyed.call() for _ in range(20))
    async with working(app, concurrency=10), working(app, concurrency=10):
        for ran in (3, 20):
            await until("some have run", partial(more_than, ran))
            forget(app)
        for handle in [*lanes, *keys]:
            await handle.result(40)
    assert gauge.most["lane"] == 3
    # A key's limit comes with its tasks: one that asks before any worker has noticed is granted.
    assert gauge.most["one"] <= 2
    assert sum("lost its data" in one.message for one in caplog.records) >= 2


@pytest.mark.parametrize("app", ["sqlite-memory"], indirect=True)
async def test_who_starts_just_after_such_a_loss_is_granted_nothing_that_is_in_use(
    app: XQueue,
) -> None:
    """It has seen no loss itself."""
    gauge, end = Gauge(), asyncio.Event()

    @app.task(max_concurrency=3)
    async def lane() -> None:
        async with asyncio.timeout(20):
            await gauge.run("lane", end)

    handles = await app.submit_many(lane.call() for _ in range(8))
    slow = partial(working, app, heartbeat=1.0)
    async with slow(), slow(), app.connect() as connection:
        semaphore = connection.faces.needed("semaphore")
        await until("as many run as may", lambda: gauge.now["lane"] == 3)
        before = set((await semaphore.inspect(["lane:lane"]))[0].holders.values())
        forget(app)
        async with slow(), slow():

            async def counted() -> bool:
                [info] = await semaphore.inspect(["lane:lane"])
                return len(before.intersection(info.holders.values())) == len(before)

            await until("what runs is counted again", counted)
            end.set()
            for handle in handles:
                await handle.result(40)
    assert gauge.most["lane"] == 3


def forget(app: XQueue) -> None:
    """Empty the memory broker, as a restart would."""
    backend = app._backends.get("memory")
    assert isinstance(backend, MemoryBackend)
    for store in backend._stores.values():
        with store.records._lock:
            store.records._rows.clear()
            store.records._buckets.clear()
