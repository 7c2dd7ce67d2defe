"""An app's lifespan, over every event loop and every broker of this tree."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from support.apps import make_app
from support.hosts import HOSTS, Hosted, hosted
from support.workers import until
from xqueue_core import Context, State, XQueue
from xqueue_core.errors import ConfigError
from xqueue_core.worker import Exit

pytestmark = pytest.mark.anyio

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """The event loop of the handlers."""
    return str(request.param)


async def workers(app: XQueue) -> int:
    """How many workers are registered."""
    async with app.connect() as connection:
        return len(await connection.faces.needed("view").workers())


async def test_it_surrounds_all_handlers(url: str, host: str) -> None:
    order: list[str] = []

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[dict[str, str]]:
        place.set("in the lifespan")
        async with anyio.create_task_group() as group:  # bound to the task it was entered in
            group.start_soon(anyio.sleep, 60)
            order.append("entered")
            yield {"pool": "open"}
            order.append("left")
            group.cancel_scope.cancel()

    async with make_app(url, lifespan=lifespan) as app:

        @app.task
        async def job(ctx: Context) -> list[str]:
            await anyio.sleep(0.3)
            order.append("ran")
            return [ctx.state["pool"], place.get()]

        @app.task
        def plain(ctx: Context) -> list[str]:
            return [ctx.state["pool"], place.get()]

        handle = await job.submit()
        async with hosted(app, host) as one:
            assert await (await plain.submit()).result(10) == ["open", "in the lifespan"]
            one.worker.stop()
            assert await one.ended() is None
            assert one.worker.exit is Exit.STOPPED
        assert await handle.result(10) == ["open", "in the lifespan"]
    assert order == ["entered", "ran", "left"]


async def test_an_error_at_its_beginning_ends_the_worker(
    url: str, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        await anyio.sleep(0.01)
        if app.handlers:
            raise OSError("no database")
        yield

    async with make_app(url, lifespan=lifespan) as app:

        @app.task
        async def job() -> None: ...

        handle = await job.submit()
        one = Hosted(app, host)
        one.start()
        error = await one.ended()
        assert isinstance(error, OSError)
        assert str(error) == "no database"
        assert caplog.text.count("the app's lifespan failed at its start: OSError('no") == 1
        info = await handle.info()
        assert (info.state, info.attempt, info.delivery) == (State.PENDING, 0, 0)
        assert await workers(app) == 0


@pytest.mark.parametrize("heeds", [True, False])
async def test_a_stop_breaks_off_its_beginning(host: str, heeds: bool) -> None:
    entering = threading.Event()
    released = threading.Event()
    ends: list[str] = []

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        entering.set()
        try:
            with anyio.CancelScope(shield=not heeds):
                while not released.is_set():
                    await anyio.sleep(0.01)
        finally:
            ends.append("broken off")
        yield
        ends.append("left")

    async with make_app("memory://", lifespan=lifespan) as app:

        @app.task
        async def job() -> None: ...

        one = Hosted(app, host)
        one.start()
        await until("it is entered", entering.is_set)
        asked = time.monotonic()
        one.worker.stop()
        if not heeds and host == "trio":
            # trio's loop ends when all on it has; the worker itself has ended before.
            await until("the worker gives it up", lambda: one.worker.exit is not None)
            released.set()
        assert await one.ended() is None
        assert time.monotonic() - asked < 3
        released.set()
        assert one.worker.exit is Exit.STOPPED
        assert ends[0] == "broken off"
        assert await workers(app) == 0


async def test_an_error_at_its_end_comes_after_all_outcomes(
    url: str, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        yield
        raise OSError("cannot close")

    async with make_app(url, lifespan=lifespan) as app:
        begun = threading.Event()

        @app.task
        async def job() -> str:
            begun.set()
            await anyio.sleep(0.2)
            return "done"

        one = Hosted(app, host)
        one.start()
        handle = await job.submit()
        await until("it runs", begun.is_set)
        one.worker.stop()
        error = await one.ended()
        assert isinstance(error, OSError)
        assert "lifespan failed at its end" in caplog.text
        assert await handle.result(10) == "done"
        assert await workers(app) == 0


@pytest.mark.parametrize("stubborn", [False, True])
async def test_its_end_is_bounded_by_the_grace(host: str, stubborn: bool) -> None:
    released = threading.Event()

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        yield
        with anyio.CancelScope(shield=stubborn):
            while not released.is_set():
                await anyio.sleep(0.01)

    async with make_app("memory://", lifespan=lifespan) as app:

        @app.task
        async def job() -> None: ...

        one = Hosted(app, host, grace=0.5)
        one.start()
        await (await job.submit()).result(10)
        asked = time.monotonic()
        one.worker.stop()
        await until("the engine ends", one.worker.ended.is_set)
        if stubborn:
            began = time.monotonic()
            await until("it is given up", lambda: time.monotonic() - began > 1.7)
            released.set()
        error = await one.ended()
        assert isinstance(error, TimeoutError)
        assert 0.5 <= time.monotonic() - asked < 4
        released.set()


async def test_one_that_breaks_in_between_stops_the_worker(url: str, host: str) -> None:
    broken = threading.Event()

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        async def fails() -> None:
            while not broken.is_set():
                await anyio.sleep(0.01)
            raise OSError("the connection is gone")

        async with anyio.create_task_group() as group:
            group.start_soon(fails)
            yield

    async with make_app(url, lifespan=lifespan) as app:

        @app.task
        async def job() -> str:
            broken.set()
            await anyio.sleep(0.3)
            return "done"

        one = Hosted(app, host)
        one.start()
        handle = await job.submit()
        error = await one.ended()
        assert isinstance(error, BaseExceptionGroup)
        assert "the connection is gone" in str(error.exceptions)
        assert await handle.result(10) == "done"


async def generator(app: XQueue) -> AsyncIterator[None]:
    """What lacks its decorator."""
    yield


async def coroutine(app: XQueue) -> None:
    """No context manager either."""


@pytest.mark.parametrize("given", [generator, coroutine, 7])
def test_what_is_no_lifespan_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="asynccontextmanager"):
        XQueue(lifespan=given)


async def test_a_process_that_gave_up_code_does_not_leave_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    released, started = threading.Event(), threading.Event()
    order: list[str] = []

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        yield
        order.append("left")

    async with make_app("memory://", lifespan=lifespan) as app:

        @app.task
        def deaf() -> None:
            started.set()
            released.wait(20)

        async with hosted(app, "asyncio", grace=0.2, recycle=True) as one:
            handle = await deaf.submit()
            await until("it runs", started.is_set)
            one.worker.stop()
            assert await one.ended() is None
            assert one.worker.abandoned
        assert await handle.state() is State.PENDING
    released.set()
    assert order == []
    assert "the app's lifespan is not left" in caplog.text
