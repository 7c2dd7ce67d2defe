"""Middleware that ends before what it called: the job, its slot and its permit last as long."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from support.apps import make_app
from support.hosts import HOSTS, hosted
from support.workers import until
from xqueue_core import Context, State, TaskCanceled, TaskTimedOut, XQueue
from xqueue_core.around import CallNext

pytestmark = pytest.mark.anyio

aside: list[asyncio.Task[Any]] = []


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """The event loop of the handlers."""
    return str(request.param)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets handlers end, at the latest after the test."""
    event = threading.Event()
    yield event
    event.set()


def begin(work: Callable[[], Coroutine[Any, Any, None]], host: str) -> None:
    """Run it beside the middleware, which does not wait for it."""
    if host == "trio":
        trio.lowlevel.spawn_system_task(work)
        return
    aside.append(asyncio.create_task(work()))


class Crowd:
    """Counts who runs at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = self.entered = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.entered += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.now -= 1


def giving_up(host: str, crowd: Crowd) -> Callable[[Context, CallNext], Awaitable[Any]]:
    """Middleware that returns as soon as the handler has begun."""

    async def middleware(ctx: Context, call_next: CallNext) -> str:
        async def calls() -> None:
            await call_next(ctx)

        before = crowd.entered
        begin(calls, host)
        while crowd.entered == before:
            await anyio.sleep(0.005)
        return "gave up"

    return middleware


async def overdue(app: XQueue, id: str) -> None:
    """Wait until a heartbeat says that the task should have ended."""

    async def said() -> bool:
        async with app.connect() as connection:
            infos = await connection.faces.needed("view").workers()
            return id in [late for info in infos for late in info.beat.overdue]

    await until("a heartbeat says that it is overdue", said)


async def test_a_coroutine_ends_with_its_middleware(host: str) -> None:
    crowd = Crowd()
    async with make_app(middleware=[giving_up(host, crowd)]) as app:

        @app.task(max_concurrency=1)
        async def long(n: int) -> Any:
            with crowd:
                await anyio.sleep(60)

        async with hosted(app, host):
            handles = [await long.submit(n) for n in range(10)]
            assert [await handle.result(10) for handle in handles] == ["gave up"] * 10
            assert (crowd.entered, crowd.now) == (10, 0)
    assert crowd.most == 1


async def test_a_coroutine_that_will_not_end_keeps_its_permit(
    host: str, release: threading.Event
) -> None:
    crowd = Crowd()
    async with make_app(middleware=[giving_up(host, crowd)]) as app:

        @app.task(max_concurrency=1, max_retry=0, process_timeout=0.3)
        async def deaf(n: int) -> Any:
            with crowd:
                while not release.is_set():
                    with anyio.CancelScope(shield=True), contextlib.suppress(BaseException):
                        await anyio.sleep(0.01)

        async with hosted(app, host):
            first, second = await deaf.submit(0), await deaf.submit(1)
            await overdue(app, first.id)
            assert (crowd.entered, await first.state()) == (1, State.PROCESSING)
            release.set()
            # What the middleware has returned before the time was up stands.
            assert await first.result(10) == "gave up"
            assert await second.result(10) == "gave up"
    assert (crowd.entered, crowd.most) == (2, 1)


async def test_a_thread_keeps_its_slot_and_permit(host: str, release: threading.Event) -> None:
    crowd, seen = Crowd(), list[bool]()
    async with make_app(middleware=[giving_up(host, crowd)]) as app:

        @app.task(max_concurrency=1, max_retry=0)
        def deaf(ctx: Context, n: int) -> Any:
            with crowd:
                while not (release.is_set() or ctx.canceled):
                    release.wait(0.01)
                seen.append(ctx.canceled)

        @app.task(max_retry=0, process_timeout=0.3)
        def late(n: int) -> Any:
            with crowd:
                release.wait(20)

        async with hosted(app, host):
            first, second = await deaf.submit(0), await deaf.submit(1)
            await until("it runs", lambda: crowd.entered == 1)
            third = await late.submit(2)
            await overdue(app, third.id)
            assert (crowd.entered, await first.state()) == (2, State.PROCESSING)
            await first.cancel()  # it looks, and is told
            assert await first.result(10) == "gave up"
            release.set()
            assert await second.result(10) == "gave up"
            with pytest.raises(TaskTimedOut):
                await third.result(10)
    assert (crowd.entered, crowd.most, seen) == (3, 2, [True, False])


async def test_what_it_is_told_reaches_a_call_that_was_left_alone(host: str) -> None:
    crowd, told = Crowd(), list[bool]()
    async with make_app(middleware=[giving_up(host, crowd)]) as app:

        @app.task(max_retry=0, process_timeout=0.4)
        async def slow(ctx: Context) -> Any:
            try:
                with crowd:
                    await anyio.sleep(60)
            finally:
                told.append(ctx.canceled)
                try:
                    await anyio.sleep(60)  # on trio it is told again at once
                finally:
                    told.append(ctx.canceled)

        async with hosted(app, host):
            assert await (await slow.submit()).result(10) == "gave up"
    assert told == [False, host != "trio"]


async def test_call_next_is_over_with_its_middleware(host: str) -> None:
    ran, errors = list[str](), list[str]()

    async def outer(ctx: Context, call_next: CallNext) -> str:
        async def calls() -> None:
            try:
                await call_next(ctx)
            except RuntimeError as error:
                errors.append(str(error))

        begin(calls, host)
        return "gave up"

    async with make_app(middleware=[outer]) as app:

        @app.task
        async def job() -> Any:
            ran.append("job")

        @app.task
        def plain() -> Any:
            ran.append("plain")

        async with hosted(app, host):
            for task in (job, plain):
                assert await (await task.submit()).result(10) == "gave up"
            await until("both were refused", lambda: len(errors) == 2)
    assert all("call_next was called after" in error for error in errors)
    assert ran == []


async def test_middleware_further_inside_is_ended_too(host: str) -> None:
    crowd, handler = Crowd(), list[str]()

    async def inner(ctx: Context, call_next: CallNext) -> Any:
        with crowd:
            await anyio.sleep(60)
        return await call_next(ctx)

    async with make_app(middleware=[giving_up(host, crowd), inner]) as app:

        @app.task
        async def job() -> Any:
            handler.append("ran")

        async with hosted(app, host):
            assert await (await job.submit()).result(10) == "gave up"
            assert crowd.now == 0
    assert handler == []


@pytest.mark.parametrize("host", ["asyncio", "uvloop"], indirect=True)
async def test_a_shielded_call_ends_with_the_wait_for_it(host: str) -> None:
    crowd = Crowd()

    async def impatient(ctx: Context, call_next: CallNext) -> Any:
        call = asyncio.ensure_future(call_next(ctx))
        try:
            return await asyncio.wait_for(asyncio.shield(call), 0.05 if ctx.type == "brief" else 60)
        except TimeoutError:
            return "gave up"

    async with make_app(middleware=[impatient]) as app:

        @app.task(max_concurrency=1)
        async def brief(n: int) -> Any:
            with crowd:
                await anyio.sleep(60)

        @app.task
        async def long() -> Any:
            with crowd:
                await anyio.sleep(60)

        async with hosted(app, host):
            handles = [await brief.submit(n) for n in range(3)]
            assert [await handle.result(10) for handle in handles] == ["gave up"] * 3
            handle = await long.submit()
            await until("it runs", lambda: crowd.entered == 4)
            await handle.cancel()
            with pytest.raises(TaskCanceled):
                await handle.result(10)
            assert crowd.now == 0
    assert crowd.most == 1


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_call_that_nothing_drives_any_more_holds_up_no_job(elsewhere: bool) -> None:
    left: list[Any] = []

    async def steps(ctx: Context, call_next: CallNext) -> str:
        async def step() -> None:
            call: Any = call_next(ctx)
            left.append(call)
            call.send(None)

        await (asyncio.create_task(step()) if elsewhere else step())
        return "gave up"

    async with make_app(middleware=[steps]) as app:

        @app.task
        async def job() -> Any:
            await anyio.lowlevel.checkpoint()

        async with hosted(app, "asyncio"):
            assert await (await job.submit()).result(10) == "gave up"
    left.pop().close()
