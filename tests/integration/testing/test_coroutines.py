"""``app.testing()`` within coroutines: handlers run on the test's own event loop."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from support.rehearsed import an_app, hows
from xqueue_core import Context, Retry, TaskCanceled, XQueue, as_completed
from xqueue_core.around import CallNext
from xqueue_core.calls import Did
from xqueue_core.errors import ConfigError

pytestmark = pytest.mark.anyio
NOON = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)


async def test_handlers_run_on_the_loop_of_the_test() -> None:
    app, loops = an_app(), []

    @app.task
    async def job(n: int) -> int:
        loops.append(asyncio.get_running_loop())
        return n

    async with app.testing() as t:
        handles = [await job.submit(1), await job.options(delay=3600).submit(2)]
        assert hows(await t.run_all()) == ["success", "success"]
        assert [await handle.result() for handle in handles] == [1, 2]
    assert loops == [asyncio.get_running_loop()] * 2


async def test_the_plain_context_does_as_well() -> None:
    app = an_app()

    @app.task
    async def job() -> None: ...

    with app.testing() as t:
        await job.submit()
        assert hows(await t.run_all()) == ["success"]
    gc.collect()


async def test_what_is_not_awaited_is_complained_of() -> None:
    app = an_app()

    @app.task
    async def job() -> None: ...

    with app.testing() as t, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(TypeError):
            len(t.run_all())
        gc.collect()
    assert "never awaited" in str(said[0].message)


async def test_many_submitted_at_once_and_from_handlers() -> None:
    app = an_app()

    @app.task
    async def parent(ctx: Context, n: int) -> list[str]:
        handles = await app.submit_many(child.call(i) for i in range(n))
        await ctx.submit("child", n=100)
        return [handle.id for handle in handles]

    @app.task
    def child(n: int) -> int:
        return n * n

    async with app.testing() as t:
        handle = await parent.submit(20)
        ran = await t.run_all()
        assert len(ran) == 22
        assert [one.arguments["n"] for one in t.submitted(child)] == [*range(20), 100]
        done = [
            await one.result()
            async for one in as_completed(app.handle(id) for id in await handle.result())
        ]
        assert sorted(done) == [n * n for n in range(20)]


async def test_two_handlers_that_need_each_other_run_at_once() -> None:
    app = an_app()
    met = asyncio.Event()

    @app.task
    async def waits() -> None:
        await met.wait()

    @app.task
    async def comes() -> None:
        met.set()

    async with app.testing() as t:
        await waits.submit()
        await comes.submit()
        assert hows(await t.run_all()) == ["success", "success"]


async def test_a_running_task_is_canceled() -> None:
    app, begun = an_app(), asyncio.Event()

    @app.task
    async def long() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def cancels(handle: Any) -> Did:
        await begun.wait()
        done: Did = await handle.cancel("changed my mind")
        return done

    async with app.testing() as t:
        handle = await long.submit()
        ran, did = await asyncio.gather(t.run_all(), cancels(handle))
        assert did is Did.REQUESTED
        assert hows(ran) == ["canceled"]
        with pytest.raises(TaskCanceled, match="changed my mind"):
            await handle.result()


async def test_a_task_canceled_before_it_is_due_never_runs() -> None:
    app = an_app()

    @app.task
    async def job() -> None:
        raise AssertionError("it ran")

    async with app.testing(now=NOON) as t:
        handle = await job.options(delay=60).submit()
        assert await handle.cancel() is Did.APPLIED
        assert await t.run_all() == []
        assert t.now == NOON


async def test_lifespan_and_middleware_are_those_of_production() -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[str]:
        told.append("enters")
        yield "state"
        told.append("leaves")

    async def layer(ctx: Context, call_next: CallNext) -> Any:
        told.append(f"before {ctx.type}")
        return await call_next(ctx)

    app = an_app(lifespan=lifespan, middleware=[layer])

    @app.task
    async def job(ctx: Context) -> Any:
        assert ctx.app is app
        return ctx.state

    @app.task
    def plain(ctx: Context) -> Any:
        return ctx.state

    async with app.testing() as t:
        handles = [await job.submit(), await plain.submit()]
        await t.run_all()
        assert [await handle.result() for handle in handles] == ["state", "state"]
    assert told[0] == "enters"
    assert sorted(told[1:3]) == ["before job", "before plain"]
    assert told[3:] == ["leaves"]


async def test_a_lifespan_that_fails_is_raised() -> None:
    def fails() -> None:
        raise OSError("no database")

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        fails()
        yield

    app = an_app(lifespan=lifespan)

    @app.task
    async def job() -> None: ...

    async with app.testing() as t:
        handle = await job.submit()
        with pytest.raises(OSError, match="no database"):
            await t.run_all()
        assert await handle.state() == "pending"


@pytest.mark.parametrize("by", ["lane", "key"])
async def test_limits_hold(by: str) -> None:
    app = an_app()
    running = most = 0

    async def body(n: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    if by == "lane":
        job = app.task(name="job", max_concurrency=2)(body)
    else:
        job = app.task(name="job", key="all", key_concurrency=2)(body)
    async with app.testing() as t:
        await app.submit_many(job.call(n) for n in range(8))
        assert hows(await t.run_all()) == ["success"] * 8
    assert most == 2


async def test_unique_keys_are_held_in_virtual_time() -> None:
    app = an_app()

    @app.task
    async def mail() -> None: ...

    once = mail.options(unique_key="daily", unique_for=86_400)
    async with app.testing() as t:
        first = await once.submit()
        assert hows(await t.run_all()) == ["success"]
        again = await once.submit()
        assert (again.id, again.duplicate) == (first.id, True)
        await t.advance(86_401)
        assert not (await once.submit()).duplicate
        assert [one.duplicate for one in t.submitted(mail)] == [False, True, False]
        assert t.submitted(mail)[1].id == first.id


async def test_priorities_come_first() -> None:
    app, order = an_app(), []

    @app.task
    async def job(n: int) -> None:
        order.append(n)

    async with app.testing() as t:
        for n in (0, 9, 5):
            await job.options(priority=n).submit(n)
        for _ in range(3):
            await t.run_one()
    assert order == [9, 5, 0]


async def test_schedules_fire_as_time_passes() -> None:
    app, slots = an_app(), []

    @app.every(timedelta(minutes=10))
    @app.task
    async def sweep(ctx: Context) -> None:
        assert ctx.slot is not None
        slots.append(datetime.fromtimestamp(ctx.slot.at, UTC) - NOON)
        assert t.now.timestamp() == ctx.slot.at

    @app.cron("30 12 * * *")
    @app.task
    def lunch(ctx: Context) -> None:
        assert t.now == NOON + timedelta(minutes=30)
        if ctx.attempt == 1:
            raise Retry(delay=0)

    async with app.testing(now=NOON) as t:
        assert await t.run_all() == []  # they would never end
        ran = await t.advance(3600)
        assert t.now == NOON + timedelta(hours=1)
        assert slots == [timedelta(minutes=10 * n) for n in range(1, 7)]
        assert [run.how for run in ran if run.type == "lunch"] == ["retry", "success"]
        assert t.submitted() == []  # nobody did
        await t.advance(599)
        assert len(slots) == 6
        await t.advance(1)
        assert len(slots) == 7


async def test_schedules_do_not_fire_while_everything_is_run() -> None:
    app = an_app()

    @app.every(60)
    @app.task
    async def tick() -> None: ...

    @app.task
    async def later() -> None: ...

    async with app.testing(now=NOON) as t:
        await t.advance(60)
        await later.options(delay=600).submit()
        assert [run.type for run in await t.run_all()] == ["later"]
        # What nobody fired in time is missed: the last slot is made up for, as in production.
        assert [run.type for run in await t.advance(0)] == ["tick"]


async def test_events_and_progress_are_there() -> None:
    app = an_app()

    @app.task
    async def job(ctx: Context) -> None:
        await ctx.progress(50, "halfway")

    async with app.testing() as t:
        handle = await job.submit()
        await t.run_all()
        told = [one.event.name.value async for one in handle.events(after="1.0") if one.event]
        assert (told[0], told[-1]) == ("accepted", "finished")
        assert "progress" in told
        info = await handle.info()
        assert info.progress is not None
        assert info.progress.message == "halfway"


async def test_one_run_at_a_time() -> None:
    app = an_app()

    @app.task
    async def job() -> None:
        with pytest.raises(ConfigError, match="not ended yet"):
            await t.run_all()

    async with app.testing() as t:
        await job.submit()
        assert hows(await t.run_all()) == ["success"]


async def test_a_run_that_is_cancelled_leaves_the_task_to_the_next() -> None:
    app, begun, ran = an_app(), asyncio.Event(), 0

    @app.task
    async def job() -> None:
        nonlocal ran
        ran += 1
        begun.set()
        if ran == 1:
            await asyncio.sleep(60)

    async with app.testing() as t:
        await job.submit()
        running = asyncio.ensure_future(t.run_all())
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert hows(await t.run_all()) == ["success"]


def test_on_trio() -> None:
    app = an_app()

    @app.task
    async def job(n: int) -> int:
        await trio.lowlevel.checkpoint()
        return n

    async def main() -> None:
        async with app.testing() as t:
            handle = await job.options(delay=3600).submit(7)
            assert hows(await t.run_all()) == ["success"]
            assert await handle.result() == 7

    trio.run(main)
