"""``inline://``: the handler has run when the submit returns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from support.apps import make_app
from xqueue_core import (
    ConfigError,
    Context,
    Handle,
    Reject,
    TaskFailed,
    TaskTimedOut,
    Unsupported,
    XQueue,
)
from xqueue_core.around import CallNext
from xqueue_core.calls import Ability
from xqueue_core.worker import Worker

pytestmark = pytest.mark.anyio


def inline(**settings: Any) -> XQueue:
    return make_app("inline://", **settings)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No test leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


async def test_it_has_run_when_submit_returns_on_the_loop_of_the_caller() -> None:
    app, seen = inline(), []

    @app.task
    async def add(ctx: Context, a: int, b: int = 1) -> int:
        seen.append((asyncio.get_running_loop(), ctx.attempt))
        return a + b

    @app.task
    def plain(n: int) -> str:
        return threading.current_thread().name

    async with app:
        handle = await add.submit(2)
        assert seen == [(asyncio.get_running_loop(), 1)]
        assert await handle.state() == "success"
        assert await handle.result() == 3
        assert (await (await plain.submit(1)).result()).startswith("xqueue-handler")
        assert await (await app.submit("add", a=1, b=9)).result() == 10
        handles = await app.submit_many(add.call(n) for n in range(50))
        assert len(seen) == 52
        assert [await one.result() for one in handles] == [n + 1 for n in range(50)]


async def test_retries_do_not_wait_and_errors_come_by_the_handle() -> None:
    app, attempts = inline(), []

    @app.task
    async def flaky(ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError("not yet")
        return ctx.attempt

    @app.task(max_retry=1)
    def broken() -> None:
        raise KeyError("k")

    @app.task
    async def rejects() -> None:
        raise Reject("never")

    @app.task(process_timeout=0.05, max_retry=0)
    async def slow() -> None:
        await asyncio.sleep(60)

    async with app:
        assert await (await flaky.submit()).result() == 3
        assert attempts == [1, 2, 3]
        failed = await broken.submit()
        assert [one.how for one in (await failed.info()).history] == ["retry", "failed"]
        with pytest.raises(TaskFailed, match="KeyError"):
            await failed.result()
        with pytest.raises(TaskFailed, match="never"):
            await (await rejects.submit()).result()
        with pytest.raises(TaskTimedOut):
            await (await slow.submit()).result()


async def test_what_will_be_refused_is_told_when_it_is_opened(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = inline()

    @app.task(max_concurrency=1)
    async def limited() -> None: ...

    @app.task
    async def free() -> None: ...

    async with app:
        [said] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
        assert "it will refuse tasks with max_concurrency: limited;" in said
        assert await (await free.submit()).state() == "success"
        with pytest.raises(Unsupported, match="max_concurrency of 'limited' needs LIMITS"):
            await limited.submit()


async def test_advice_is_what_can_be_done_here(caplog: pytest.LogCaptureFixture) -> None:
    app = inline()

    @app.task(max_retry=1)
    async def broken() -> None:
        raise KeyError("k")

    async with app:
        failed = await broken.submit()
        why = str(await failed.why())
        assert "submit it to run it again" in why
        assert "replay" not in why
        for refused in (failed.replay(), failed.reschedule(delay=1)):
            with pytest.raises(Unsupported):
                await refused
    said = [one.getMessage() for one in caplog.records if one.name == "xqueue.worker"]
    assert said[0].endswith("KeyError: 'k'; next try at once")
    assert "next try in" not in "".join(said)


async def test_handlers_submit_and_their_tasks_have_run_too() -> None:
    app = inline()

    @app.task
    async def down(ctx: Context, n: int) -> int:
        if n == 0:
            return 0
        handle: Handle[int] = await ctx.submit("down", n=n - 1)
        return 1 + await handle.result()

    async with app:
        assert await (await down.submit(40)).result() == 40


async def test_submits_at_one_time_run_beside_each_other() -> None:
    app = inline()
    both = asyncio.Barrier(2)

    @app.task
    async def meets() -> None:
        await both.wait()

    async with app, asyncio.timeout(20):
        await asyncio.gather(meets.submit(), meets.submit())


async def test_the_higher_priority_begins_first() -> None:
    app, order = inline(), []

    @app.task
    async def job(n: int) -> None:
        order.append(n)

    async with app:
        await app.submit_many(job.options(priority=n).call(n) for n in (1, 9, 5))
    assert order == [9, 5, 1]


async def test_ids_and_unique_keys_are_accepted_once() -> None:
    app, ran = inline(), []

    @app.task
    async def job(n: int) -> None:
        ran.append(n)
        again = await job.options(id="mine").submit(2)  # it runs: this does not wait for it
        assert again.duplicate
        many = await app.submit_many([job.options(id="mine").call(3)])
        assert many[0].duplicate

    @app.task
    async def daily() -> None: ...

    async with app:
        await job.options(id="mine").submit(1)
        assert ran == [1]
        once = daily.options(unique_key="k", unique_for=3600)
        assert (await once.submit()).id == (await once.submit()).id


async def test_lifespan_and_middleware_are_around_the_handlers() -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[str]:
        told.append("enters")
        yield "state"
        told.append("leaves")

    async def layer(ctx: Context, call_next: CallNext) -> Any:
        told.append(f"before {ctx.type}")
        return await call_next(ctx)

    app = inline(lifespan=lifespan, middleware=[layer])

    @app.task
    async def job(ctx: Context) -> Any:
        return ctx.state

    async with app:
        assert await (await job.submit()).result() == "state"
        await job.submit()
    assert told == ["enters", "before job", "before job", "leaves"]


async def test_what_it_cannot_do_is_in_its_capabilities_and_refused() -> None:
    app = inline()

    @app.task
    async def job() -> None: ...

    @app.task(key="k")
    async def keyed() -> None: ...

    @app.task(max_concurrency=3)
    async def limited() -> None: ...

    @app.task(isolation="process")
    def isolated() -> None: ...

    async with app, app.connect() as connection:
        capabilities = connection.capabilities
        assert set(Ability) - capabilities.abilities == {"CANCEL", "DELAY", "LIMITS"}
        assert (capabilities.max_delay, capabilities.shared, capabilities.durable) == (
            0,
            False,
            False,
        )
        assert connection.faces.semaphore is None
        for submitter, why in (
            (job.options(delay=1), "DELAY, which delay"),
            (job.options(run_at=datetime(2090, 1, 1, tzinfo=UTC)), "DELAY, which run_at"),
            (keyed, "LIMITS, which key"),
            (limited, "max_concurrency of 'limited' needs LIMITS"),
            (isolated, "isolation='process' of 'isolated' needs a worker"),
        ):
            with pytest.raises(Unsupported, match=why):
                await submitter.submit()
        handle = await job.submit()
        for what in (handle.cancel, handle.replay):
            with pytest.raises(Unsupported, match="cannot"):
                await what()


async def test_limits_may_be_done_without() -> None:
    app = inline(accept_without={"LIMITS"})

    @app.task(max_concurrency=1)
    async def limited() -> int:
        return 1

    async with app:
        assert await (await limited.submit()).result() == 1


async def test_it_has_no_workers_and_is_no_broker_of_others() -> None:
    app = inline()

    @app.task
    async def job() -> None: ...

    with pytest.raises(ConfigError, match="no broker"):
        await Worker(app).run()

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        yield

    entered = inline(lifespan=lifespan)
    entered.task(job)
    with pytest.raises(ConfigError, match="no broker"):
        await Worker(entered).run()
    mixed = make_app("memory://", semaphore_url="inline://")
    with pytest.raises(ConfigError, match="no broker"):
        async with mixed:
            raise AssertionError("it was opened")


async def test_a_submit_that_is_cancelled_leaves_the_handler_running() -> None:
    app, begun, go, ended = inline(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.task
    async def job() -> None:
        begun.set()
        await go.wait()
        ended.set()

    async with app:
        submitting = asyncio.create_task(job.options(id="x").submit())
        await begun.wait()
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError, match="job:x was cancelled; it was accepted"):
            await submitting
        go.set()
        await app.handle("job:x").result(20)
        assert ended.is_set()


async def test_other_loops_share_what_was_submitted() -> None:
    app = inline()

    @app.task
    async def job(n: int) -> int:
        return n

    async def one(n: int) -> str:
        async with app:
            return (await job.submit(n)).id

    ids = await asyncio.gather(*(asyncio.to_thread(asyncio.run, one(n)) for n in range(8)))
    async with app:
        assert [await app.handle(id).result(20) for id in ids] == list(range(8))


def test_a_script_needs_no_context() -> None:
    app = inline()

    @app.task
    async def job(n: int) -> int:
        return n + 1

    async def main() -> int:
        return await (await job.submit(1)).result()

    assert asyncio.run(main()) == 2


def test_on_trio() -> None:
    app = inline()

    @app.task
    async def job(n: int) -> int:
        await asyncio.sleep(0)  # on the client's own loop, which is asyncio's
        return n

    async def main() -> int:
        async with app:
            return await (await job.submit(3)).result()

    assert trio.run(main) == 3
