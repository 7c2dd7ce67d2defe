"""arq: no results, and it asks Redis again at once rather than every half second."""

from __future__ import annotations

import asyncio
import logging

import uvloop
from arq import create_pool, func
from arq.connections import RedisSettings
from arq.worker import Worker

from benchmarks.peers.counted import Counted, chunks, main


def submit(url: str, count: int) -> None:
    """There is no bulk call: 100 submits at a time wait for their answers together."""

    async def all_of_them() -> None:
        pool = await create_pool(RedisSettings.from_dsn(url))
        for size in chunks(count, 100):
            await asyncio.gather(*(pool.enqueue_job("noop") for _ in range(size)))
        await pool.aclose()

    uvloop.run(all_of_them())


def work(url: str, counted: Counted) -> None:
    logging.disable(logging.INFO)

    async def noop(ctx: object) -> None:
        counted.ran()

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    worker = Worker(
        functions=[func(noop, name="noop", keep_result=0)],
        redis_settings=RedisSettings.from_dsn(url),
        max_jobs=100,
        poll_delay=0.01,
        queue_read_limit=1_000,
        keep_result=0,
        log_results=False,
        handle_signals=False,
    )
    worker.run()


main(submit, work)
