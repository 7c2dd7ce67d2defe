"""Who uses an app first leaves nothing of his context in it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from support.apps import make_app
from support.recorder import Recorder, recorded
from xqueue_core import XQueue

request: ContextVar[Any] = ContextVar("request", default=None)
opened: ContextVar[str] = ContextVar("opened", default="")


class Request:
    """What a web framework keeps in a context variable."""


@asynccontextmanager
async def lifespan(app: XQueue) -> AsyncIterator[None]:
    """Sets a variable of its own."""
    opened.set(f"opened, {request.get()}")
    yield


def test_inline_handlers_find_what_the_lifespan_has_set_and_nothing_of_their_callers() -> None:
    async def main() -> None:
        async with make_app("inline://", lifespan=lifespan) as app:
            found: list[tuple[Any, str]] = []

            @app.task
            async def job() -> None:
                found.append((request.get(), opened.get()))
                request.set("a handler's")

            @app.task
            def plain() -> None:
                found.append((request.get(), opened.get()))

            @app.task
            async def nested() -> None:
                request.set("another handler's")
                await job.submit()

            handlers: list[Any] = [job, plain, nested, job]
            for n, task in enumerate(handlers):
                request.set(f"request {n}")
                await task.submit()
                assert request.get() == f"request {n}"
        assert found == [(None, "opened, None")] * 4

    asyncio.run(main())


def _memory() -> XQueue:
    return make_app("memory://")


def _inline() -> XQueue:
    return make_app("inline://", lifespan=lifespan)


def _plugged() -> XQueue:
    return recorded("memory://", Recorder())


@pytest.mark.parametrize("make", [_memory, _inline, _plugged])
def test_what_the_first_request_had_is_not_kept(make: Callable[[], XQueue]) -> None:
    async def first(app: XQueue) -> weakref.ref[Request]:
        own = Request()
        request.set(own)
        handle = await app.submit("job")
        assert await handle.info() is not None
        waiting = asyncio.create_task(handle.wait())
        watcher = app._client.session.watcher
        while not waiting.done() and not watcher._tasks:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return weakref.ref(own)

    async def main() -> None:
        async with make() as app:

            @app.task
            async def job() -> None: ...

            kept = await asyncio.create_task(first(app))
            await asyncio.sleep(0)
            gc.collect()
            assert kept() is None

    asyncio.run(main())


def test_nor_is_it_in_plain_code() -> None:
    def first(app: XQueue) -> weakref.ref[Request]:
        own = Request()
        request.set(own)
        assert app.sync.submit("job").info() is not None
        return weakref.ref(own)

    app = make_app("memory://")

    @app.task
    async def job() -> None: ...

    try:
        kept = copy_context().run(first, app)
        # The loop drops the timers of the first with its next turns.
        assert app.sync.submit("job").info() is not None
        gc.collect()
        assert kept() is None
    finally:
        app.sync.close()
