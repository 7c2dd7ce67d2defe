"""A worker within a program of somebody else's, who stops and resizes it."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

from support.workers import TIMES, until
from xqueue_core import State, XQueue
from xqueue_core.worker import Exit, Worker

pytestmark = pytest.mark.anyio


class Started:
    """A worker with a handler that takes long."""

    def __init__(self, app: XQueue, grace: float = 20.0) -> None:
        self.running = self.most = 0

        @app.task(process_timeout=None)
        async def job(seconds: float) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.running -= 1

        self.job = job
        self.worker = Worker(app, **{**TIMES, "grace": grace, "concurrency": 3})

    async def run(self) -> Exit:
        """Run the worker."""
        return await asyncio.wait_for(self.worker.run(), 30)


async def test_stopped_from_another_thread(app: XQueue) -> None:
    one = Started(app)
    handle = await one.job.submit(1.0)
    running = asyncio.create_task(one.run())
    await until("it runs", lambda: one.running)
    threading.Thread(target=one.worker.stop).start()
    assert await running is Exit.STOPPED
    assert await handle.state() is State.SUCCESS


async def test_stopped_from_a_signal_handler_twice(app: XQueue) -> None:
    """While the second interrupts the first."""
    one = Started(app, grace=60.0)
    handle = await one.job.submit(100.0)
    running = asyncio.create_task(one.run())
    await until("it runs", lambda: one.running)

    def handler(*_: object) -> None:
        one.worker.stop()
        if not again:
            again.append(1)
            signal.raise_signal(signal.SIGUSR1)

    again: list[int] = []
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert await running is Exit.STOPPED
    finally:
        signal.signal(signal.SIGUSR1, before)
    info = await handle.info()
    assert (info.state, info.history[-1].how) == (State.PENDING, "handback")


@pytest.mark.parametrize("times", [1, 2])
async def test_stopped_before_it_runs(app: XQueue, times: int) -> None:
    one = Started(app)
    handle = await one.job.submit(0.0)
    for _ in range(times):
        one.worker.stop()
    assert await one.run() is Exit.STOPPED
    assert (await handle.info()).history == []


async def test_a_worker_runs_once(app: XQueue) -> None:
    worker = Started(app).worker
    running = asyncio.create_task(worker.run())
    await until("it works", lambda: worker.begun)
    with pytest.raises(RuntimeError, match="make another Worker"):
        await worker.run()
    worker.stop()
    assert await asyncio.wait_for(running, 30) is Exit.STOPPED
    with pytest.raises(RuntimeError, match="make another Worker"):
        await worker.run()


async def test_stopped_and_resized_after_its_end(app: XQueue) -> None:
    one = Started(app)
    running = asyncio.create_task(one.run())
    one.worker.stop()
    assert await running is Exit.STOPPED
    one.worker.stop()
    one.worker.resize(5)


async def test_cancelled(app: XQueue) -> None:
    one = Started(app, grace=60.0)
    handle = await one.job.submit(100.0)
    running = asyncio.create_task(one.worker.run())
    await until("it runs", lambda: one.running)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)
    info = await handle.info()
    assert (info.state, info.history[-1].how) == (State.PENDING, "handback")
    assert one.running == 0


async def test_resized_from_another_thread_and_before_it_runs(app: XQueue) -> None:
    one = Started(app)
    handles = [await one.job.submit(0.5) for _ in range(12)]
    one.worker.resize(1)
    running = asyncio.create_task(one.run())
    await handles[0].result(10)
    await asyncio.gather(*(handle.result(10) for handle in handles[:2]))
    assert one.most == 1
    threading.Thread(target=one.worker.resize, args=(5,)).start()
    await until("five run", lambda: one.running == 5)
    async with app.connect() as connection:
        view = connection.faces.needed("view")

        async def told() -> bool:
            return [info.beat.slots for info in await view.workers()] == [5]

        await until("its heartbeat tells", told)
    one.worker.stop()
    assert await running is Exit.STOPPED
    assert one.most == 5
