"""Workers that end with their work: not before, and not never."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support import lifecycle_app
from support.lifecycle import noted, pids, times, worker
from support.spoiled import spoil
from support.workers import TIMES, until
from xqueue_core import Context, RetryPolicy, State, XQueue
from xqueue_core.worker import Exit, Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One event loop: none of this is about loops."""
    return "asyncio"


async def burst(app: XQueue, workers: int = 1, **options: int) -> list[Exit]:
    """Run so many at once until all have ended."""
    runs = [Worker(app, burst=True, **{**TIMES, **options}).run() for _ in range(workers)]
    return await asyncio.wait_for(asyncio.gather(*runs), 20)


@pytest.mark.parametrize("workers", [1, 2])
async def test_all_tasks_of_limited_lanes_are_done(app: XQueue, workers: int) -> None:
    done: list[str] = []

    @app.task(max_concurrency=1)
    async def one(ctx: Context) -> None:
        await asyncio.sleep(0.02)
        done.append(ctx.id)

    @app.task
    async def free(ctx: Context) -> None:
        done.append(ctx.id)

    handles = [await task.submit() for task in (one, free) for _ in range(12)]
    assert await burst(app, workers, concurrency=4) == [Exit.EMPTY] * workers
    assert sorted(done) == sorted(handle.id for handle in handles)


@pytest.mark.parametrize("workers", [1, 2])
async def test_all_parked_tasks_are_done(app: XQueue, workers: int) -> None:
    done: list[str] = []

    @app.task(key="{who}", key_concurrency=1)
    async def keyed(ctx: Context, who: str) -> None:
        await asyncio.sleep(0.03)
        done.append(ctx.id)

    handles = [await keyed.submit(who) for who in "aaaaaaaabbb"]
    assert await burst(app, workers, concurrency=8) == [Exit.EMPTY] * workers
    assert sorted(done) == sorted(handle.id for handle in handles)


async def test_what_is_put_meanwhile_is_done_and_what_is_for_later_is_left(app: XQueue) -> None:
    @app.task
    async def child() -> int:
        return 1

    @app.task
    async def parent() -> None:
        await asyncio.sleep(0.3)
        await child.options(id="now").submit()
        await child.options(id="later", delay=3600).submit()

    @app.task(retry=RetryPolicy(base=3600, cap=3600))
    async def broken() -> None:
        raise ValueError

    await parent.submit()
    failed = await broken.submit()
    assert await burst(app) == [Exit.EMPTY]
    assert await app.handle("child:now").state() is State.SUCCESS
    assert await app.handle("child:later").state() is State.SCHEDULED
    assert await failed.state() is State.SCHEDULED


async def test_without_work_it_ends_at_once(app: XQueue) -> None:
    @app.task
    async def job() -> None: ...

    assert await asyncio.wait_for(burst(app), 5) == [Exit.EMPTY]


async def test_a_task_in_quarantine_keeps_nobody(tmp_path: Path) -> None:
    file = tmp_path / "tasks.db"
    done: list[str] = []
    async with XQueue(url=f"sqlite:///{file}") as app:

        @app.task
        async def job(ctx: Context) -> None:
            done.append(ctx.id)

        handles = [await job.submit() for _ in range(5)]
        spoil(file, handles[2].id)
        assert await burst(app) == [Exit.EMPTY]
        assert await burst(app) == [Exit.EMPTY]
    assert sorted(done) == sorted(one.id for one in handles if one != handles[2])


async def test_several_processes_end_one_by_one_as_their_work_ends(tmp_path: Path) -> None:
    """The supervisor ends with the last, and starts nobody anew."""
    url, log = f"sqlite:///{tmp_path / 'tasks.db'}", tmp_path / "handlers.log"
    async with lifecycle_app.make(url) as app:
        long = await app.submit("nap", seconds=3.0)
        handles = [await app.submit("nap", seconds=0.5) for _ in range(7)]
        arguments = ("--processes", "2", "--concurrency", "2", "--burst")
        with worker(url, log, *arguments) as process:
            await noted(log, 8)
            await until("one ends", lambda: "ended with code 0" in process.log())
            assert await process.ended() == 0
            assert process.log().count("started worker") == 2
        for handle in (long, *handles):
            assert await handle.state() is State.SUCCESS
        assert len(times(log, "start")) == 8
        assert 1 <= len(pids(log)) <= 2
