"""A worker is stopped whose plugins take long to open, or to close."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from integration.plugins.test_held import plugged_app
from support.hosts import Hosted
from support.recorder import Recorder, Recording
from support.workers import until
from xqueue_core import XQueue, holding
from xqueue_core.hooks import Hooks, Place, Site
from xqueue_core.worker import Exit

pytestmark = pytest.mark.anyio

#: Seconds within which a stop ends that waits for no plugin: much less than they may take.
SOON = 6.0


class Slow(Recorder):
    """Takes for ever to open, or to close."""

    places = (Place.WORKER,)

    def __init__(self, *, opens: bool = False, stubborn: bool = False) -> None:
        super().__init__()
        self.opens = opens
        self.stubborn = stubborn
        self.begun = threading.Event()
        self.cut = threading.Event()

    @asynccontextmanager
    async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
        """Wait for nothing, either here or at the end."""
        if not self.opens:
            await self._wait()
        yield Recording(self, settings)
        await self._wait()

    async def _wait(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cut.set()
            if self.stubborn:
                await asyncio.Event().wait()  # until its loop ends
            raise


class Flushing(Recorder):
    """Takes a moment to close."""

    places = (Place.WORKER,)

    @asynccontextmanager
    async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
        """Note when it has been closed in peace."""
        yield Recording(self, settings)
        await anyio.sleep(0.2)
        self.closed.append(site.place)


def with_job(app: XQueue) -> XQueue:
    """The app, with a type."""

    @app.task
    async def job() -> None: ...

    return app


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_stop_does_not_wait_for_a_plugin_that_opens(
    url: str, host: str, stubborn: bool
) -> None:
    flushing, slow = Flushing(), Slow(stubborn=stubborn)
    async with with_job(plugged_app(url, flushing=flushing, slow=slow)) as app:
        one = Hosted(app, host, grace=60.0)
        one.start()
        await until("it is being opened", slow.begun.is_set)
        one.worker.stop()
        assert await one.ended(SOON) is None
        assert one.worker.exit is Exit.STOPPED
    assert slow.cut.is_set()
    assert flushing.closed == [Place.WORKER]
    assert flushing.events == []  # it has not begun
    assert app._plugins.failures() == {}


@pytest.mark.parametrize("stops", [1, 2])
async def test_a_stop_waits_for_a_plugin_that_closes_no_longer_than_the_grace(
    url: str, host: str, stops: int, caplog: pytest.LogCaptureFixture
) -> None:
    flushing, slow = Flushing(), Slow(opens=True)
    async with with_job(plugged_app(url, flushing=flushing, slow=slow)) as app:
        one = Hosted(app, host, grace=0.1 if stops == 1 else 60.0)
        one.start()
        await until("it works", lambda: flushing.events)
        one.worker.stop()
        if stops == 2:
            await until("it is being closed", slow.begun.is_set)
            one.worker.stop()
        assert await one.ended(SOON) is None
    assert slow.cut.is_set()
    assert flushing.closed == [Place.WORKER]  # each has a second, whatever the grace
    assert app._plugins.failures() == {("slow", "open"): 1}
    assert "it was not closed in time, and is not waited for" in caplog.text


async def test_without_a_hurry_they_have_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "FLOOR", 0.01)
    flushing = Flushing()
    async with with_job(plugged_app("memory://", flushing=flushing)) as app:
        one = Hosted(app, "asyncio", burst=True)
        one.start()
        assert await one.ended() is None
    assert flushing.closed == [Place.WORKER]
