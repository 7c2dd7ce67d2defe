"""How an app's lifespan ends when the worker is cancelled or stopped around it."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from support.apps import make_app
from support.hosts import HOSTS, Hosted
from support.workers import until
from xqueue_core import XQueue
from xqueue_core.cli.loops import run_on
from xqueue_core.worker import Exit

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """The event loop of the handlers."""
    return str(request.param)


class Scoped(Hosted):
    """A worker in a cancel scope, which tells when ``run()`` has ended."""

    def __init__(self, app: XQueue, host: str, order: list[str]) -> None:
        super().__init__(app, host, grace=0.5)
        self.order = order
        self.cancel: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Run the worker in the scope."""
        run_on(self.host, self._scoped, self._crash)

    async def _scoped(self) -> Exit:
        with anyio.CancelScope() as scope:
            self.cancel = scope.cancel
            try:
                return await self.worker.run()
            finally:
                self.order.append("ended")
        return Exit.STOPPED


@pytest.mark.parametrize("stubborn", [False, True])
async def test_one_that_opens_as_the_worker_is_cancelled_is_left(host: str, stubborn: bool) -> None:
    order: list[str] = []
    released = threading.Event()

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        one.cancel()  # in the very turn in which it opens
        yield
        with anyio.CancelScope(shield=True):
            while stubborn and not released.is_set():
                await anyio.sleep(0.01)
        order.append("left")

    async with make_app("memory://", lifespan=lifespan) as app:

        @app.task
        async def job() -> None: ...

        one = Scoped(app, host, order)
        one.start()
        await until("it ends", lambda: "ended" in order, 5)
        assert order == (["ended"] if stubborn else ["left", "ended"])
        released.set()
        assert await one.ended() is None


async def test_one_that_opens_although_it_was_broken_off_is_left(host: str) -> None:
    order: list[str] = []
    entering = threading.Event()

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        entering.set()
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep(60)
        order.append("opened")
        try:
            yield
        finally:
            order.append("left")

    async with make_app("memory://", lifespan=lifespan) as app:

        @app.task
        async def job() -> None: ...

        one = Scoped(app, host, order)
        one.start()
        await until("it is entered", entering.is_set)
        one.worker.stop()
        assert await one.ended() is None
        assert order == ["opened", "left", "ended"]
        assert one.worker.exit is Exit.STOPPED


async def test_a_second_stop_breaks_off_its_end(host: str) -> None:
    leaving = threading.Event()

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        yield
        leaving.set()
        await anyio.sleep(60)

    async with make_app("memory://", lifespan=lifespan) as app:

        @app.task
        async def job() -> None: ...

        one = Hosted(app, host, grace=30)
        one.start()
        await (await job.submit()).result(10)
        one.worker.stop()
        await until("it is left", leaving.is_set)
        asked = time.monotonic()
        one.worker.stop()
        assert isinstance(await one.ended(), TimeoutError)
        assert time.monotonic() - asked < 5
