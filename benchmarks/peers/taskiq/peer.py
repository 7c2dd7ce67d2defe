"""taskiq over Redis Streams; variant ``results`` keeps results as well."""

from __future__ import annotations

import asyncio

import uvloop
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers.counted import Counted, chunks, main, variant


def made(url: str, counted: Counted | None = None) -> tuple[RedisStreamBroker, object]:
    broker = RedisStreamBroker(url)
    if variant() == "results":
        broker = broker.with_result_backend(RedisAsyncResultBackend(url, result_ex_time=600))

    @broker.task(task_name="noop")
    async def noop() -> None:
        if counted:
            counted.ran()

    return broker, noop


def submit(url: str, count: int) -> None:
    """There is no bulk call: 100 submits at a time wait for their answers together."""
    broker, noop = made(url)

    async def all_of_them() -> None:
        await broker.startup()
        for size in chunks(count, 100):
            await asyncio.gather(*(noop.kiq() for _ in range(size)))
        await broker.shutdown()

    uvloop.run(all_of_them())


def work(url: str, counted: Counted) -> None:
    """As ``taskiq worker --workers 1 --max-async-tasks 100`` does, in this process."""
    broker, _ = made(url, counted)

    async def receive() -> None:
        broker.is_worker_process = True
        await run_receiver_task(broker, max_async_tasks=100, max_prefetch=100, run_startup=True)

    uvloop.run(receive())


main(submit, work)
