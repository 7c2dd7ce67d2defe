"""Plugins that take long to leave a run in a thread: that is not the handler's time."""

from __future__ import annotations

import threading

import pytest

from support.hosts import hosted
from support.recorder import Recorder, recorded
from support.workers import until
from xqueue_core import Context
from xqueue_core.hooks import How
from xqueue_core.worker import Exit

pytestmark = pytest.mark.anyio


class Stuck(Recorder):
    """Stays in the end of a run until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.release = threading.Event(), threading.Event()
        self.fault = self._stay

    def _stay(self, hook: str) -> None:
        if hook == "run exit":
            self.reached.set()
            self.release.wait(20)


async def test_its_time_out_passes_meanwhile(url: str, host: str) -> None:
    plugin = Stuck()
    async with recorded(url, plugin) as app:

        @app.task(max_retry=0, process_timeout=0.2)
        def plain() -> str:
            return "done"

        async with hosted(app, host):
            handle = await plain.submit()
            await until("it is left", plugin.reached.is_set)
            plugin.release.wait(0.5)
            plugin.release.set()
            assert await handle.result(10) == "done"
            await until("its end is told", lambda: plugin.ends)
    assert plugin.ends[0].how is How.SUCCESS
    assert plugin.ends[0].ran < 0.4


async def test_its_worker_ends_meanwhile(url: str, host: str) -> None:
    plugin = Stuck()
    async with recorded(url, plugin) as app:

        @app.task(process_timeout=0.2)
        def plain() -> str:
            return "done"

        async with hosted(app, host) as one:
            handle = await plain.submit()
            await until("it is left", plugin.reached.is_set)
            one.worker.stop()
            one.worker.stop()
            await one.ended()
            assert await handle.result(10) == "done"
        plugin.release.set()


@pytest.mark.parametrize("timeout", [60.0, None])
async def test_they_never_leave(
    url: str, host: str, timeout: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The process is replaced, as for a handler that never returns; its task has succeeded."""
    plugin = Stuck()
    async with recorded(url, plugin) as app:

        @app.task(process_timeout=timeout)
        def plain(ctx: Context) -> int:
            return ctx.attempt

        async with hosted(app, host, recycle=True, grace=1.5) as one:
            handle = await plain.submit()
            await one.ended()
            assert one.worker.exit is Exit.RECYCLE
            assert await handle.result(10) == 1
        plugin.release.set()
    assert len(plugin.runs) == 1
    assert caplog.text.count("plugins keep its thread") == 1
    assert f"must be replaced; 1 task: {handle.id}" in caplog.text


async def test_the_loop_is_blocked_when_they_have_left(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Word that it has ended is late; that is no plugin's doing, and no reason to end."""
    begun, blocked, returned = threading.Event(), threading.Event(), threading.Event()
    async with recorded(url, Recorder()) as app:

        @app.task
        async def blocking() -> None:
            blocked.set()
            returned.wait(10)
            threading.Event().wait(2.5)

        @app.task
        def plain() -> None:
            begun.set()
            blocked.wait(10)
            returned.set()

        async with hosted(app, "asyncio", recycle=True, grace=0.5) as one:
            second = await plain.submit()
            await until("it runs", begun.is_set)
            first = await blocking.submit()
            await first.result(10)
            await second.result(10)
            assert one.worker.exit is None
    assert "plugins keep" not in caplog.text
