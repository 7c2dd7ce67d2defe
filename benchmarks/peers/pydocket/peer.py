"""Docket: a pool for all slots, a short check interval, no records of what has ended."""

from __future__ import annotations

import logging
from datetime import timedelta

import uvloop
from docket import Docket, Worker

from benchmarks.peers.counted import Counted, main


def made(url: str) -> Docket:
    return Docket(name="peer", url=f"{url}?max_connections=300", execution_ttl=timedelta(0))


def submit(url: str, count: int) -> None:
    async def noop() -> None: ...

    async def all_of_them() -> None:
        async with made(url) as docket:
            await docket.add_many(docket.call(noop)() for _ in range(count))

    uvloop.run(all_of_them())


def work(url: str, counted: Counted) -> None:
    logging.disable(logging.INFO)

    async def noop() -> None:
        counted.ran()

    async def receive() -> None:
        async with made(url) as docket:
            docket.register(noop)
            interval = timedelta(milliseconds=5)
            async with Worker(docket, concurrency=100, minimum_check_interval=interval) as worker:
                await worker.run_forever()

    uvloop.run(receive())


main(submit, work)
