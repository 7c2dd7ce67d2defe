"""One suite of handlers over every event loop they may run on, and every broker of this tree."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from support.hosts import HOSTS, hosted
from support.workers import until
from xqueue_core import (
    Context,
    RetryPolicy,
    State,
    TaskCanceled,
    TaskFailed,
    TaskTimedOut,
    XQueue,
)
from xqueue_core.task import EventName

pytestmark = pytest.mark.anyio

SOON = RetryPolicy(base=0.01)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """The event loop of the handlers."""
    return str(request.param)


async def test_results(app: XQueue, host: str) -> None:
    @app.task
    async def add(left: int, right: int) -> int:
        await anyio.sleep(0.01)
        return left + right

    @app.task
    async def at_once() -> str:
        import sniffio

        return sniffio.current_async_library()

    @app.task
    def plain(text: str) -> list[str]:
        return [text, threading.current_thread().name]

    async with hosted(app, host):
        assert await (await add.submit(1, right=2)).result(10) == 3
        assert await (await at_once.submit()).result(10) == host.replace("uvloop", "asyncio")
        text, thread = await (await plain.submit("a")).result(10)
        assert (text, thread.startswith("xqueue-handler")) == ("a", True)


async def test_failures_retries_and_time_outs(app: XQueue, host: str) -> None:
    seen: list[bool] = []

    @app.task(max_retry=1, retry=SOON)
    async def broken() -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("no luck")

    @app.task(retry=SOON)
    async def second_time(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise LookupError("not yet")
        return ctx.attempt

    @app.task(process_timeout=0.1, max_retry=1, retry=SOON)
    async def long(ctx: Context) -> None:
        try:
            await anyio.sleep(60)
        finally:
            seen.append(ctx.canceled)

    async with hosted(app, host):
        failing = await broken.submit()
        late = await long.submit()
        assert await (await second_time.submit()).result(10) == 2
        with pytest.raises(TaskFailed, match="no luck") as caught:
            await failing.result(10)
        assert "raise ValueError" in caught.value.traceback
        assert (await failing.info()).attempt == 2
        with pytest.raises(TaskTimedOut):
            await late.result(10)
        history = (await late.info()).history
        assert [one.reason for one in history] == ["process_timeout"] * 2
    assert seen == [True, True]


async def test_cancel(app: XQueue, host: str) -> None:
    started = threading.Event()

    @app.task
    async def long() -> None:
        started.set()
        await anyio.sleep(60)

    @app.task
    async def stubborn() -> str:
        started.set()
        try:
            await anyio.sleep(60)
        except BaseException:
            return "done anyway"
        return "not told"

    @app.task
    def in_a_thread(ctx: Context) -> None:
        started.set()
        while True:
            ctx.check()
            time.sleep(0.01)

    async with hosted(app, host):
        for task in (long, stubborn, in_a_thread):
            started.clear()
            handle = await task.submit()
            await until("the task runs", started.is_set)
            asked = time.monotonic()
            await handle.cancel("enough")
            if task is stubborn:
                assert await handle.result(10) == "done anyway"
            else:
                with pytest.raises(TaskCanceled):
                    await handle.result(10)
            assert time.monotonic() - asked < 2


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_each_handler_finds_a_fresh_context(app: XQueue, host: str) -> None:
    @app.task(lane="one")
    async def sets(n: int) -> str:
        before = variable.get()
        variable.set(f"set by {n}")
        await anyio.sleep(0.001)
        return f"{before}, {variable.get()}"

    @app.task(lane="one")
    def sets_in_a_thread(n: int) -> str:
        before = variable.get()
        variable.set(f"set by {n}")
        return f"{before}, {variable.get()}"

    # One slot, one thread: each begins where the one before has ended.
    async with hosted(app, host, concurrency=1, threads=1, prefetch=20):
        handles = []
        for n in range(10):
            handles.append(await (sets_in_a_thread if n % 3 == 1 else sets).submit(n))
        results = [await handle.result(10) for handle in handles]
    assert results == [f"unset, set by {n}" for n in range(10)]


async def test_progress(app: XQueue, host: str) -> None:
    go = threading.Event()

    @app.task
    async def counted(ctx: Context) -> None:
        for n in range(50):
            await ctx.progress(done=n, total=50)
        while not go.is_set():
            await anyio.sleep(0.01)
        await ctx.progress(100, "all")

    async with hosted(app, host):
        handle = await counted.submit()
        reports: list[Any] = []

        async def read() -> None:
            async for notice in handle.events():
                if notice.event is not None and notice.event.name is EventName.PROGRESS:
                    reports.append(notice.event.data["done"])

        reading = asyncio.create_task(read())

        async def kept() -> bool:
            progress = (await handle.info()).progress
            return progress is not None and progress.done == 49

        await until("what the throttle kept back is sent later", kept)
        go.set()
        await handle.result(10)

        async def last() -> bool:
            progress = (await handle.info()).progress
            return progress is not None and progress.message == "all"

        await until("the last report is kept", last)
        reading.cancel()
        assert len(reports) <= 4


async def test_a_drain_lets_tasks_end_and_hands_back_the_rest(app: XQueue, host: str) -> None:
    started: list[str] = []
    told: list[bool] = []

    @app.task(lane="one", process_timeout=None)
    async def nap(ctx: Context, seconds: float) -> str:
        started.append(ctx.id)
        try:
            await anyio.sleep(seconds)
        finally:
            told.append(ctx.canceled)
        return "rested"

    async with hosted(app, host, concurrency=2, prefetch=1, grace=1.5) as one:
        short = await nap.submit(1.0)
        long = await nap.submit(60.0)
        waits = await nap.submit(0.0)
        await until("both run", lambda: len(started) == 2)
        one.worker.stop()
        assert await one.ended() is None
        assert not one.worker.abandoned
    assert sorted(told) == [False, True]
    assert await short.result(10) == "rested"
    for handle, charged in ((long, 1), (waits, 0)):
        info = await handle.info()
        assert (info.state, info.attempt, info.losses) == (State.PENDING, charged, 0)
    assert (await long.info()).history[-1].how == "handback"
    async with hosted(app, host):
        assert await waits.result(10) == "rested"
