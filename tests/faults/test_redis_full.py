"""What can still be done on a server of Redis that has no memory left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

import services
from services import Server
from support.apps import make_app
from support.redis_links import command, made
from support.workers import until, working
from xqueue_core import XQueue
from xqueue_core.abc import Faces, Role
from xqueue_core.calls import (
    AnyCommand,
    Beat,
    Cancel,
    Did,
    Order,
    Pause,
    Purge,
    Put,
    Resume,
    Settle,
    Want,
)
from xqueue_core.errors import Unavailable
from xqueue_core.task import Success, Task
from xqueue_redis import RedisBackend

pytestmark = pytest.mark.anyio

LARGE = 64 * 1024


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that refuses what needs memory when it has none left."""
    with services.redis() as started:
        yield started


@asynccontextmanager
async def full(server: Server) -> AsyncIterator[None]:
    await command(server, "CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        await command(server, "CONFIG", "SET", "maxmemory", "0")


@pytest.fixture
async def faces(server: Server) -> AsyncIterator[Faces]:
    async with RedisBackend().open(made(server.url, namespace="full"), Role.CLIENT) as opened:
        yield opened


def keyed(server: Server, go: asyncio.Event) -> XQueue:
    """An app whose tasks of a key run one after the other, each as soon as it may."""
    app = make_app(f"{server.url}?allow=persistence")

    @app.task(key="{key}", key_concurrency=1)
    async def turn(key: str) -> str:
        await go.wait()
        return key

    return app


async def test_a_worker_drains_what_is_parked(server: Server) -> None:
    go = asyncio.Event()
    async with keyed(server, go) as app, app.connect() as connection:
        handles = [await app.submit("turn", key="k") for _ in range(4)]

        async def parked() -> bool:
            assert connection.faces.view is not None
            return (await connection.faces.view.stats()).total().parked == 3

        async with working(app, concurrency=4):
            await until("the others are parked", parked)
            async with full(server):
                go.set()
                assert [await one.result(15.0) for one in handles] == ["k"] * 4


async def test_a_worker_begins_and_drains(server: Server) -> None:
    go = asyncio.Event()
    go.set()
    async with keyed(server, go) as app:
        handles = [await app.submit("turn", key=f"k{n % 2}") for n in range(6)]
        async with full(server), working(app, concurrency=4):
            assert [await one.result(15.0) for one in handles] == ["k0", "k1"] * 3


async def test_operators_are_obeyed(server: Server, faces: Faces) -> None:
    await faces.queue.put([Task(id=f"t:{n}", lane="t") for n in range(2)])
    await faces.queue.extend(Beat(worker="w"), [])
    async with full(server):
        wishes: list[AnyCommand] = [
            Cancel("t:0"),
            Purge("t:1"),
            Pause("t"),
            Resume("t"),
            Order("w", stop=True),
        ]
        said = [one.did for one in await faces.queue.control(wishes)]
        assert said == [Did.APPLIED] * len(wishes)
        assert (await faces.queue.parked(["t"], None, 10)).items == []


async def test_it_says_what_to_do_and_purging_makes_room(server: Server, faces: Faces) -> None:
    used = int((await command(server, "INFO", "memory"))["used_memory"])
    await faces.queue.extend(Beat(worker="w"), [])
    await command(server, "CONFIG", "SET", "maxmemory", str(used + 40 * LARGE))
    tasks: list[Task] = []

    async def fill() -> None:
        while True:
            tasks.append(Task(id=f"t:{len(tasks)}", lane="t", payload=bytes(LARGE)))
            await faces.queue.put(tasks[-1:])

    with pytest.raises(Unavailable, match=r"Raise maxmemory, or drain.*purge"):
        await fill()
    refused = tasks.pop()
    leased = await faces.queue.lease([Want("t", len(tasks))], len(tasks), 1, "w", 0.0)
    ends = [Settle(one.task.id, one.token, Success()) for one in leased.deliveries]
    await faces.queue.settle(ends)
    with pytest.raises(Unavailable):
        await faces.queue.put([refused])
    said = await faces.queue.control([Purge(one.id) for one in tasks])
    assert [one.did for one in said] == [Did.APPLIED] * len(tasks)
    assert [one.put for one in await faces.queue.put([refused])] == [Put.NEW]
