"""SAQ: results kept for ten minutes, its default; dropped at once, its sweep trips over them."""

from __future__ import annotations

import asyncio
import logging

import uvloop
from saq import Queue, Worker

from benchmarks.peers.counted import Counted, chunks, main


def submit(url: str, count: int) -> None:
    """There is no bulk call: 100 submits at a time wait for their answers together."""

    async def all_of_them() -> None:
        queue = Queue.from_url(url, max_concurrent_ops=100)
        await queue.connect()
        for size in chunks(count, 100):
            await asyncio.gather(*(queue.enqueue("noop") for _ in range(size)))
        await queue.disconnect()

    uvloop.run(all_of_them())


def work(url: str, counted: Counted) -> None:
    logging.disable(logging.INFO)

    async def noop(ctx: object) -> None:
        counted.ran()

    async def all_of_them() -> None:
        queue = Queue.from_url(url, max_concurrent_ops=100)
        await queue.connect()
        await Worker(queue, functions=[("noop", noop)], concurrency=100).start()

    uvloop.run(all_of_them())


main(submit, work)
