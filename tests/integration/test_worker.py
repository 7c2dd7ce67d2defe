"""One worker, end to end: how tasks end."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from support.workers import until, working
from xqueue_core import (
    Context,
    Reject,
    Retry,
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


async def test_coroutines_and_plain_functions_return_results(app: XQueue) -> None:
    @app.task
    async def add(left: int, right: int) -> int:
        return left + right

    @app.task
    def name_of_thread() -> str:
        return threading.current_thread().name

    async with working(app):
        assert await (await add.submit(1, right=2)).result(10) == 3
        assert (await (await name_of_thread.submit()).result(10)).startswith("xqueue-handler")


async def test_the_context_knows_the_task(app: XQueue) -> None:
    @app.task
    async def look(ctx: Context) -> list[object]:
        assert ctx.remaining is not None
        return [ctx.id, ctx.type, ctx.lane, ctx.attempt, ctx.token > 0, ctx.headers["tenant"]]

    async with working(app) as worker:
        handle = await look.options(headers={"tenant": "t1"}).submit()
        assert await handle.result(10) == [handle.id, "look", "look", 1, True, "t1"]
        assert (await handle.info()).worker == worker.id


async def test_a_handler_submits_more(app: XQueue) -> None:
    @app.task
    async def child(n: int) -> int:
        return n * 2

    @app.task
    async def parent(ctx: Context) -> int:
        other: int = await (await ctx.submit("child", n=1)).result(10)
        return await (await child.submit(4)).result(10) + other

    async with working(app):
        assert await (await parent.submit()).result(10) == 10


async def test_a_failure_is_retried_and_then_final(app: XQueue) -> None:
    attempts: list[int] = []

    @app.task(max_retry=2, retry=SOON)
    async def broken(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("no luck")

    async with working(app):
        handle = await broken.submit()
        with pytest.raises(TaskFailed, match="no luck") as caught:
            await handle.result(10)
    assert attempts == [1, 2, 3]
    assert (caught.value.reason, caught.value.error_type) == ("exception", "ValueError")
    assert "raise ValueError" in caught.value.traceback


async def test_a_handler_asks_for_a_retry(app: XQueue) -> None:
    @app.task(retry=RetryPolicy(base=3600))
    async def shy(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise Retry(delay=0.01, reason="not yet")
        return ctx.attempt

    async with working(app):
        assert await (await shy.submit()).result(10) == 3


@pytest.mark.parametrize("kind", ["reject", "no_retry"])
async def test_some_failures_are_final_at_once(app: XQueue, kind: str) -> None:
    @app.task(retry=RetryPolicy(no_retry=(LookupError,)))
    def refuse() -> None:
        raise Reject("bad input") if kind == "reject" else KeyError("x")

    async with working(app):
        handle = await refuse.submit()
        with pytest.raises(TaskFailed) as caught:
            await handle.result(10)
    assert caught.value.reason == ("rejected" if kind == "reject" else "exception")
    assert (await handle.info()).attempt == 1


@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_the_worker_survives_what_handlers_raise(app: XQueue, ending: BaseException) -> None:
    @app.task(max_retry=1, retry=SOON)
    async def exits() -> None:
        raise ending

    @app.task(max_retry=0)
    def exits_in_a_thread() -> None:
        raise SystemExit(4)

    @app.task
    async def fine() -> str:
        return "fine"

    async with working(app):
        handle = await exits.submit()
        plain = await exits_in_a_thread.submit()
        for one in (handle, plain):
            with pytest.raises(TaskFailed):
                await one.result(10)
        assert (await handle.info()).attempt == 2
        assert await (await fine.submit()).result(10) == "fine"


async def test_a_result_that_cannot_be_kept_fails_without_a_retry(app: XQueue) -> None:
    @app.task
    async def opaque() -> object:
        return object()

    @app.task
    def huge() -> str:
        return "x" * 600_000

    async with working(app):
        for handle in (await opaque.submit(), await huge.submit()):
            with pytest.raises(TaskFailed) as caught:
                await handle.result(10)
            assert caught.value.reason == "result"
            assert (await handle.info()).attempt == 1


async def test_a_coroutine_times_out(app: XQueue) -> None:
    seen: list[bool] = []

    @app.task(process_timeout=0.1, max_retry=1, retry=SOON)
    async def long(ctx: Context) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(ctx.canceled)

    async with working(app):
        handle = await long.submit()
        with pytest.raises(TaskTimedOut):
            await handle.result(10)
    assert seen == [True, True]


async def test_a_plain_function_that_looks_away_times_out_when_it_returns(app: XQueue) -> None:
    release = threading.Event()

    @app.task(process_timeout=0.1, max_retry=0)
    def deaf() -> str:
        release.wait(20)
        return "too late"

    @app.task(process_timeout=0.1, max_retry=0)
    def attentive(ctx: Context) -> str:
        while not ctx.canceled:
            release.wait(0.01)
        return "part of it"

    async with working(app) as worker:
        handle = await deaf.submit()
        assert await (await attentive.submit()).result(10) == "part of it"

        async def overdue() -> bool:
            async with app.connect() as connection:
                [info] = await connection.faces.needed("view").workers()
                assert info.beat.worker == worker.id
                return bool(info.beat.overdue == [handle.id])

        await until("the heartbeat names the overdue task", overdue)
        assert await handle.state() is State.PROCESSING
        release.set()
        with pytest.raises(TaskTimedOut):
            await handle.result(10)


async def test_a_running_task_is_canceled(app: XQueue) -> None:
    started = threading.Event()

    @app.task
    async def long() -> None:
        started.set()
        await asyncio.sleep(60)

    @app.task
    def long_in_a_thread(ctx: Context) -> None:
        started.set()
        while not ctx.canceled:
            time.sleep(0.01)
        raise RuntimeError("told to end")

    async with working(app):
        for task in (long, long_in_a_thread):
            started.clear()
            handle = await task.submit()
            await until("the task runs", started.is_set)
            asked = time.monotonic()
            await handle.cancel("enough")
            with pytest.raises(TaskCanceled):
                await handle.result(10)
            assert time.monotonic() - asked < 2


async def test_a_swallowed_cancel_stays_a_success(app: XQueue) -> None:
    started = asyncio.Event()

    @app.task
    async def stubborn() -> str:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done anyway"
        return "not told"

    async with working(app):
        handle = await stubborn.submit()
        await asyncio.wait_for(started.wait(), 10)
        await handle.cancel()
        assert await handle.result(10) == "done anyway"


async def test_a_prefetched_task_that_is_canceled_never_starts(app: XQueue) -> None:
    ran: list[int] = []
    release = asyncio.Event()

    @app.task
    async def one(n: int) -> None:
        ran.append(n)
        await release.wait()

    async with working(app, concurrency=1, prefetch=3):
        first = await one.submit(1)
        await until("the first runs", lambda: ran)
        second = await one.submit(2)
        third = await one.submit(3)

        async def fetched() -> bool:
            return await second.state() is State.PROCESSING

        await until("the second is fetched ahead", fetched)
        await second.cancel()
        with pytest.raises(TaskCanceled):
            await second.result(10)
        release.set()
        await first.result(10)
        await third.result(10)
    assert ran == [1, 3]


async def test_progress_is_published(app: XQueue) -> None:
    go = asyncio.Event()

    @app.task
    async def counted(ctx: Context) -> None:
        for n in range(50):
            await ctx.progress(done=n, total=50)
        await go.wait()
        await ctx.progress(100, "all")

    @app.task
    def in_a_thread(ctx: Context) -> None:
        ctx.progress_nowait(50, "half")

    async with working(app):
        handle = await counted.submit()
        percents: list[tuple[object, object]] = []

        async def read() -> None:
            async for notice in handle.events():
                if notice.event is not None and notice.event.name is EventName.PROGRESS:
                    percents.append((notice.event.data["percent"], notice.event.data["done"]))
                if notice.event is not None and notice.event.state.final:
                    return

        reading = asyncio.create_task(read())
        await until("the second report, sent after the throttle", lambda: len(percents) >= 1)
        go.set()
        await handle.result(10)

        async def shown() -> bool:
            progress = (await handle.info()).progress
            return progress is not None and progress.message == "all"

        await until("the last progress is kept", shown)
        await asyncio.wait_for(reading, 10)
        assert len(percents) <= 4

        other = await in_a_thread.submit()
        await other.result(10)


async def test_a_type_that_this_worker_does_not_know_waits_for_another(app: XQueue) -> None:
    @app.task(lane="shared")
    async def known() -> str:
        return "known"

    @app.task(lane="shared")
    async def new() -> str:
        return "new"

    async with working(app, types=("known",)):
        strange = await new.submit()
        assert await (await known.submit()).result(10) == "known"

        async def back() -> bool:
            info = await strange.info()
            return info.state is State.SCHEDULED and any("type" in h.reason for h in info.history)

        await until("it is handed back, with the reason in its history", back)
    # The first worker has gone: each time it took the task again, the wait would double.
    async with working(app):
        assert await strange.result(15) == "new"


async def test_a_payload_that_does_not_fit_fails_without_a_retry(app: XQueue, url: str) -> None:
    @app.task
    async def typed(n: int) -> int:
        return n

    from xqueue_core.task import Task

    async with app.connect() as connection:
        task = Task(id="typed:bad", lane="typed", payload=b'{"n": "text"}')
        await connection.faces.queue.put([task])
    async with working(app):
        with pytest.raises(TaskFailed) as caught:
            await app.handle("typed:bad").result(10)
    assert caught.value.reason == "payload"
