"""A worker that ends with its work, where tasks cannot be read: they are nobody's work any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import services
from services import Server
from support.apps import make_app
from support.redis_links import command
from support.spoiled import spoil
from support.workers import TIMES
from xqueue_core import Context, XQueue
from xqueue_core.abc import Role
from xqueue_core.calls import Beat, Want
from xqueue_core.views import TypeStats
from xqueue_core.worker import Exit, Worker
from xqueue_memory import MemoryBackend

pytestmark = pytest.mark.anyio

Spoil = Callable[[str], Awaitable[None]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for all tests here."""
    with services.redis("redis7", aof=True) as started:
        yield started


@pytest.fixture(params=["memory", "sqlite", "redis7"])
async def both(
    request: pytest.FixtureRequest, tmp_path: Path, server: Server
) -> AsyncIterator[tuple[XQueue, Spoil]]:
    """An app, and what makes a task of its broker unreadable."""
    file = tmp_path / "tasks.db"
    if request.param == "redis7":
        await command(server, "FLUSHALL")

        async def damage(id: str) -> None:
            await command(server, "HSET", f"{{xqueue}}:t:{id}", "s", b"\xc1\xc1")

        url = server.url
    elif request.param == "sqlite":

        async def damage(id: str) -> None:
            spoil(file, id)

        url = f"sqlite:///{file}"
    else:

        async def damage(id: str) -> None:
            backend = app._backends.get("memory")
            assert isinstance(backend, MemoryBackend)
            [store] = backend._stores.values()
            store.records._rows[f"t/{id}"] = store.records._rows[f"t/{id}"]._replace(body=b"R\xff")

        url = "memory://"
    async with make_app(url) as app:
        yield app, damage


async def burst(app: XQueue, workers: int = 1) -> None:
    runs = [Worker(app, burst=True, **TIMES).run() for _ in range(workers)]
    assert await asyncio.wait_for(asyncio.gather(*runs), 15) == [Exit.EMPTY] * workers


async def total(app: XQueue) -> TypeStats:
    async with app.connect() as connection:
        found: TypeStats = (await connection.faces.needed("view").stats()).total()
        return found


@pytest.mark.parametrize("count", [1, 3, 5])
async def test_ready_tasks(both: tuple[XQueue, Spoil], count: int) -> None:
    app, damage = both
    done: list[str] = []

    @app.task
    async def job(ctx: Context) -> None:
        done.append(ctx.id)

    handles = [await job.submit() for _ in range(5)]
    for one in handles[:count]:
        await damage(one.id)
    await burst(app)
    await burst(app, 2)
    assert sorted(done) == sorted(one.id for one in handles[count:])
    found = await total(app)
    assert (found.quarantined, found.pending) == (count, count)


async def test_more_in_quarantine_than_wait(both: tuple[XQueue, Spoil]) -> None:
    """What waits is done although as many are counted that nobody can read."""
    app, damage = both
    done: list[int] = []

    @app.task
    async def job(n: int) -> None:
        done.append(n)

    for handle in [await job.submit(n) for n in range(5)]:
        await damage(handle.id)
    await burst(app)
    for n in (5, 6):
        await job.submit(n)
    await burst(app)
    assert sorted(done) == [5, 6]


async def test_parked_and_scheduled_tasks(both: tuple[XQueue, Spoil]) -> None:
    app, damage = both
    done: list[str] = []

    @app.task(key="{who}", key_concurrency=1)
    async def keyed(ctx: Context, who: str) -> None:
        await asyncio.sleep(0.02)
        done.append(ctx.id)

    handles = [await keyed.submit(who) for who in "aaabbbc"]
    later = await keyed.options(delay=0.5).submit("a")
    for one in (handles[0], handles[2], handles[6], later):
        await damage(one.id)
    await burst(app)
    await asyncio.sleep(0.6)
    await burst(app)
    rest = [one.id for one in handles if one.id not in {handles[n].id for n in (0, 2, 6)}]
    assert sorted(done) == sorted(rest)


async def test_a_task_that_a_dead_worker_had(both: tuple[XQueue, Spoil]) -> None:
    app, damage = both
    done: list[str] = []

    @app.task
    async def job(ctx: Context) -> None:
        done.append(ctx.id)

    handles = [await job.submit() for _ in range(3)]
    async with app.connect(Role.WORKER) as connection:
        queue = connection.faces.queue
        await queue.extend(Beat(worker="dead", lease=0.2, slots=3), [])
        leased = await queue.lease([Want("job", 2)], 2, 1, "dead", 0.0)
    assert len(leased.deliveries) == 2
    lost = leased.deliveries[0].task.id
    await damage(lost)
    async with asyncio.timeout(30):
        while len(done) < 2:  # those that another worker still has are left
            await burst(app)
            await asyncio.sleep(0.2)
    await burst(app)
    assert sorted(done) == sorted(one.id for one in handles if one.id != lost)
    assert (await total(app)).processing == 1
