"""What only handlers on trio can do, and the client on trio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from support.apps import make_app
from support.hosts import hosted
from support.workers import TIMES, until
from xqueue_core import Context, Reject, State, TaskCanceled, TaskFailed, TaskTimedOut, XQueue
from xqueue_core.errors import Unsupported
from xqueue_core.worker import Exit, Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


async def test_a_nursery_of_the_handlers_own(app: XQueue) -> None:
    started = threading.Event()
    ended: list[str] = []

    async def child(name: str) -> None:
        started.set()
        try:
            await trio.sleep(60)
        finally:
            ended.append(name)

    @app.task(max_retry=0, process_timeout=0.2)
    async def late() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, "a")
            nursery.start_soon(child, "b")

    @app.task
    async def long() -> None:
        # Its children's cancellations may come in a group.
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(child, "c")
            await child("d")

    @app.task(max_retry=0)
    async def broken() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, "e")
            nursery.start_soon(fails)

    async def fails() -> None:
        await trio.sleep(0.01)
        raise KeyError("k")

    @app.task
    async def own_scope() -> str:
        with trio.move_on_after(0.01):
            await trio.sleep(60)
        return "moved on"

    async with hosted(app, "trio"):
        with pytest.raises(TaskTimedOut):
            await (await late.submit()).result(10)
        assert await (await own_scope.submit()).result(10) == "moved on"
        with pytest.raises(TaskFailed) as caught:
            await (await broken.submit()).result(10)
        assert caught.value.error_type == "ExceptionGroup"
        assert "KeyError: 'k'" in caught.value.traceback
        started.clear()
        handle = await long.submit()
        await until("it runs", started.is_set)
        await handle.cancel()
        with pytest.raises(TaskCanceled):
            await handle.result(10)
    assert sorted(ended) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "in a nursery"])
async def test_what_asks_for_asyncio_is_told_in_the_log_that_it_runs_on_trio(
    app: XQueue, nested: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(max_retry=0)
    async def elsewhere() -> None:
        if not nested:
            await asyncio.sleep(1)
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(asyncio.sleep, 1)

    @app.task(max_retry=0)
    async def fails() -> None:
        raise RuntimeError("something else")

    async with hosted(app, "trio"):
        for handler in (elsewhere, fails):
            with pytest.raises(TaskFailed) as caught:
                await (await handler.submit()).result(10)
            assert "--loop" not in f"{caught.value}{caught.value.traceback}"
    told, plain = [one.getMessage() for one in caplog.records if "failed, att" in one.getMessage()]
    assert told.endswith("; it awaits what needs asyncio, but runs on trio (--loop trio)")
    assert "--loop" not in plain


async def test_what_swallows_cancellation_is_told_at_every_await(app: XQueue) -> None:
    told = 0

    @app.task(process_timeout=0.1, max_retry=0)
    async def stubborn() -> int:
        nonlocal told
        while told < 5:
            try:
                await trio.sleep(60)
            except trio.Cancelled:
                told += 1
        return told

    async with hosted(app, "trio"):
        assert await (await stubborn.submit()).result(10) == 5


def embedded(main: Callable[[XQueue], Awaitable[None]], url: str = "memory://") -> None:
    """Run a program on trio that has an app."""

    async def program() -> None:
        app = make_app(url)
        try:
            with trio.fail_after(20):
                await main(app)
        finally:
            await app.aclose()

    trio.run(program)


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
def test_a_program_on_trio_submits_and_works(url: str, tmp_path: Path) -> None:
    async def main(app: XQueue) -> None:
        @app.task
        async def child(n: int) -> int:
            return n * 2

        @app.task
        async def parent(ctx: Context) -> int:
            other: int = await (await ctx.submit("child", n=1)).result(10)
            return await (await child.submit(4)).result(10) + other

        @app.task(max_retry=0)
        async def refuses() -> None:
            raise Reject("no")

        worker = Worker(app, **TIMES)
        exits: list[Exit] = []

        async def work() -> None:
            exits.append(await worker.run())

        async with app, trio.open_nursery() as nursery:
            nursery.start_soon(work)
            assert await (await parent.submit()).result(10) == 10
            calls = [child.call(n) for n in range(20)]
            handles = await app.submit_many(calls)
            assert [await handle.result() for handle in handles] == [n * 2 for n in range(20)]
            refused = await refuses.submit()
            with pytest.raises(TaskFailed):
                await refused.result()
            assert await refused.state() is State.FAILED
            later = await child.options(delay=60).submit(1)
            with pytest.raises(TimeoutError):
                await later.result(0.05)
            with trio.move_on_after(0.05) as scope:
                await later.wait()
            assert scope.cancelled_caught
            assert (await later.cancel()).value == "applied"
            assert [one async for one in refused.events()] == []
            worker.stop()
        assert exits == [Exit.STOPPED]

    embedded(main, url if url != "sqlite" else f"sqlite:///{tmp_path / 'tasks.db'}")


def test_a_worker_that_is_cancelled_drains_at_once() -> None:
    async def main(app: XQueue) -> None:
        started, ended = trio.Event(), []

        @app.task
        async def long(ctx: Context) -> None:
            started.set()
            try:
                await trio.sleep(60)
            finally:
                ended.append(ctx.canceled)

        worker = Worker(app, **TIMES)
        handle = await long.submit()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await started.wait()
            nursery.cancel_scope.cancel()
        assert (worker.exit, ended) == (Exit.STOPPED, [True])
        info = await handle.info()
        assert (info.state, info.history[-1].reason) == (State.PENDING, "stop")

    embedded(main)


async def test_the_thread_of_the_client_ends_with_it() -> None:
    others = set(threading.enumerate())  # of apps of other tests, which live as long as those

    def clients() -> int:
        mine = set(threading.enumerate()) - others
        return sum(one.name == "xqueue-client" for one in mine)

    async def use(app: XQueue) -> None:
        @app.task
        async def job() -> None: ...

        for _ in range(2):
            await job.submit()
            assert clients() >= 1
            await app.aclose()

    await asyncio.to_thread(embedded, use)
    await until("the thread has ended", lambda: clients() == 0)


def test_outside_of_any_loop_a_worker_says_what_it_needs() -> None:
    app = make_app()

    @app.task
    async def job() -> None: ...

    run: Any = Worker(app, **TIMES).run()
    with pytest.raises(Unsupported, match="asyncio or trio"):
        run.send(None)
