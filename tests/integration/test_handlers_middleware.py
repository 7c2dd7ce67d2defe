"""Middleware around handlers, over every event loop and every broker of this tree."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from support.apps import make_app
from support.hosts import HOSTS, hosted
from support.workers import until
from xqueue_core import (
    Context,
    Reject,
    RetryPolicy,
    State,
    TaskCanceled,
    TaskFailed,
    TaskTimedOut,
    XQueue,
)
from xqueue_core.around import CallNext, Middleware
from xqueue_core.errors import ConfigError

pytestmark = pytest.mark.anyio

SOON = RetryPolicy(base=0.01)
trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """The event loop of the handlers."""
    return str(request.param)


def app_with(url: str, *middleware: Middleware) -> XQueue:
    """An app with middleware, over this broker."""
    return make_app(url, middleware=middleware)


async def test_layers_run_outermost_first_around_every_kind(url: str, host: str) -> None:
    seen: list[str] = []

    def layer(name: str) -> Middleware:
        async def middleware(ctx: Context, call_next: CallNext) -> Any:
            seen.append(f"{name} before {ctx.type}")
            value = await call_next(ctx)
            seen.append(f"{name} after {value}")
            return f"{name}({value})"

        return middleware

    async with app_with(url, layer("a"), layer("b")) as app:

        @app.task
        async def job() -> str:
            await anyio.lowlevel.checkpoint()
            return "coroutine"

        @app.task
        def plain(ctx: Context) -> str:
            assert ctx.id.startswith("plain:")
            return threading.current_thread().name.rpartition("-")[0]

        async with hosted(app, host):
            for task, said in ((job, "coroutine"), (plain, "xqueue-handler")):
                seen.clear()
                assert await (await task.submit()).result(10) == f"a(b({said}))"
                assert seen == [
                    f"a before {task.name}",
                    f"b before {task.name}",
                    f"b after {said}",
                    f"a after b({said})",
                ]


async def test_what_middleware_sets_reaches_the_handler_and_no_other(url: str, host: str) -> None:
    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        before = trace.get()
        trace.set(ctx.headers["trace"])
        return [before, await call_next(ctx)]

    async with app_with(url, middleware) as app:

        @app.task(lane="one")
        async def job() -> Any:
            return trace.get()

        @app.task(lane="one")
        def plain() -> Any:
            return trace.get()

        async with hosted(app, host, concurrency=1, threads=1):
            handles = []
            for n in range(6):
                task = (job, plain)[n % 2].options(headers={"trace": f"t{n}"})
                handles.append(await task.submit())
            results = [await handle.result(10) for handle in handles]
    assert results == [["none", f"t{n}"] for n in range(6)]


async def test_middleware_raises_refuses_and_swallows(url: str, host: str) -> None:
    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        await anyio.lowlevel.checkpoint()
        if "refuse" in ctx.headers:
            raise Reject("not this one")
        try:
            return await call_next(ctx)
        except ValueError as error:
            return f"swallowed: {error}"
        except KeyError as error:
            raise LookupError("raised by middleware") from error

    async with app_with(url, middleware) as app:
        ran: list[str] = []

        @app.task(max_retry=1, retry=SOON)
        async def job(what: str) -> Any:
            ran.append(what)
            raise {"value": ValueError, "key": KeyError}[what](what)

        @app.task(max_retry=0)
        def plain(what: str) -> Any:
            raise {"value": ValueError, "key": KeyError}[what](what)

        async with hosted(app, host):
            for task in (job, plain):
                assert await (await task.submit("value")).result(10) == "swallowed: value"
                with pytest.raises(TaskFailed, match="raised by middleware") as caught:
                    await (await task.submit("key")).result(10)
                assert caught.value.error_type == "LookupError"
                assert "KeyError: 'key'" in caught.value.traceback
            refused = await job.options(headers={"refuse": "1"}).submit("value")
            with pytest.raises(TaskFailed, match="not this one") as caught:
                await refused.result(10)
            assert caught.value.reason == "rejected"
        assert ran == ["value", "key", "key"]


async def test_cancel_and_time_out_end_middleware_and_coroutine(url: str, host: str) -> None:
    told: list[bool] = []
    started = threading.Event()

    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        try:
            return await call_next(ctx)
        finally:
            told.append(ctx.canceled)

    async with app_with(url, middleware) as app:

        @app.task(max_retry=0, process_timeout=0.2)
        async def late() -> None:
            await anyio.sleep(60)

        @app.task
        async def long() -> None:
            started.set()
            await anyio.sleep(60)

        async with hosted(app, host):
            with pytest.raises(TaskTimedOut):
                await (await late.submit()).result(10)
            handle = await long.submit()
            await until("it runs", started.is_set)
            await handle.cancel()
            with pytest.raises(TaskCanceled):
                await handle.result(10)
    assert told == [True, True]


async def test_a_thread_keeps_its_slot_whatever_its_middleware_is_told(url: str, host: str) -> None:
    release, started = threading.Event(), threading.Event()
    running: list[str] = []
    after: list[str] = []

    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        value = await call_next(ctx)
        after.append(f"{value} {ctx.canceled}")
        await anyio.sleep(0 if not ctx.canceled else 60)
        return value

    async with app_with(url, middleware) as app:

        @app.task
        def deaf(name: str) -> str:
            running.append(name)
            started.set()
            if name == "first":
                release.wait(20)
            return name

        async with hosted(app, host, threads=1, prefetch=4):
            first = await deaf.submit("first")
            await until("it runs", started.is_set)
            await first.cancel()
            second = await deaf.submit("second")
            began = time.monotonic()
            await until("time for a second start", lambda: time.monotonic() - began > 0.7)
            assert running == ["first"]
            assert await first.state() is State.PROCESSING
            release.set()
            # What comes after the thread is cancelled, as any coroutine is.
            with pytest.raises(TaskCanceled):
                await first.result(10)
            assert await second.result(10) == "second"
    assert after == ["first True", "second False"]


async def test_middleware_may_give_up_waiting_and_may_try_again(url: str, host: str) -> None:
    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        if ctx.type == "flaky":
            try:
                return await call_next(ctx)
            except ValueError:
                return await call_next(ctx)
        with anyio.move_on_after(0.05):
            return await call_next(ctx)
        return "gave up"

    async with app_with(url, middleware) as app:
        calls: list[float] = []

        @app.task
        def flaky() -> str:
            calls.append(time.monotonic())
            if len(calls) == 1:
                raise ValueError("once")
            return "second"

        @app.task
        def slow() -> str:
            time.sleep(0.5)
            calls.append(time.monotonic())
            return "slow"

        @app.task
        async def waits() -> Any:
            await anyio.sleep(60)

        async with hosted(app, host, threads=1):
            assert await (await flaky.submit()).result(10) == "second"
            assert await (await waits.submit()).result(10) == "gave up"
            # A thread cannot be interrupted: the wait for it ends with it.
            slept = await (await slow.submit()).result(10)
            assert slept in ("gave up", "slow")
            assert len(calls) == 3
            assert await (await flaky.submit()).result(10) == "second"


async def test_a_payload_that_does_not_fit_is_told_as_such(url: str) -> None:
    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        return await call_next(ctx)

    from xqueue_core.task import Task

    async with app_with(url, middleware) as app:

        @app.task
        def typed(n: int) -> int:
            return n

        async with app.connect() as connection:
            task = Task(id="typed:bad", lane="typed", payload=b'{"n": "text"}')
            await connection.faces.queue.put([task])
        async with hosted(app, "asyncio"):
            with pytest.raises(TaskFailed) as caught:
                await app.handle("typed:bad").result(10)
        assert caught.value.reason == "payload"


def _plain(ctx: Context, call_next: CallNext) -> Any: ...


async def _fine(ctx: Context, call_next: CallNext) -> Any: ...


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([_plain], "`async def _plain"),
        ([None], "not None"),
        (_fine, r"middleware=\[_fine\]"),
    ],
)
def test_what_is_no_middleware_is_refused(given: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        XQueue(middleware=given)


def test_middleware_as_a_decorator_tells_what_to_write() -> None:
    app: Any = XQueue(middleware=[_fine])
    with pytest.raises(ConfigError, match=r"`app = XQueue\(middleware=\[_fine\]\)` below"):
        app.middleware(_fine)
    with pytest.raises(ConfigError, match=r"XQueue\(middleware=\[around\]\)"):
        app.middleware()
    assert XQueue(middleware=app.middleware).middleware == (_fine,)
