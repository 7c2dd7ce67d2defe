"""Repid over Redis Streams: batches of 100 (it keeps no results)."""

from __future__ import annotations

import asyncio

import uvloop
from repid import RedisServer, Repid, Router

from benchmarks.peers.counted import Counted, chunks, main


def made(url: str) -> Repid:
    app = Repid(title="peer", version="1")
    app.servers.register_server("default", RedisServer(url, batch_size=100), is_default=True)
    return app


def submit(url: str, count: int) -> None:
    """There is no bulk call: 100 submits at a time wait for their answers together."""
    app = made(url)

    async def all_of_them() -> None:
        async with app.servers.default.connection():
            for size in chunks(count, 100):
                await asyncio.gather(
                    *(
                        app.send_message(channel="default", payload=b"", headers={"topic": "noop"})
                        for _ in range(size)
                    )
                )

    uvloop.run(all_of_them())


def work(url: str, counted: Counted) -> None:
    app = made(url)
    router = Router()

    @router.actor
    async def noop() -> None:
        counted.ran()

    app.include_router(router)

    async def receive() -> None:
        async with app.servers.default.connection():
            await app.run_worker(tasks_limit=100)

    uvloop.run(receive())


main(submit, work)
