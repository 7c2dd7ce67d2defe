"""Plugins whose own tasks fail, that end by themselves, or that are cancelled while open."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from support.apps import make_app
from support.hosts import Hosted, hosted
from support.recorder import Recorder, Recording
from support.workers import until
from xqueue_core import PluginFailed, XQueue
from xqueue_core.hooks import Hooks, Place, Plugin, Site
from xqueue_core.plugged import PluginCache

pytestmark = pytest.mark.anyio


class Failing(Recorder):
    """Has a task of its own, which fails when a test says so."""

    def __init__(self, how: str = "fails") -> None:
        super().__init__()
        self.how = how
        self.opened: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @asynccontextmanager
    async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
        """Record, beside that task."""
        failing = asyncio.Event()
        self.opened.append((asyncio.get_running_loop(), failing))

        async def push() -> None:
            await failing.wait()
            raise OSError("the collector is away")

        if self.how == "swallows":
            ending = asyncio.create_task(failing.wait())
            me = asyncio.current_task()
            assert me is not None
            ending.add_done_callback(lambda _: me.cancel() and me.uncancel())
            try:
                yield Recording(self, settings)
            except asyncio.CancelledError:
                return
        async with asyncio.TaskGroup() as group:
            group.create_task(push())
            yield Recording(self, settings)

    def fail(self) -> None:
        """Let it fail, wherever it is open."""
        for loop, failing in self.opened:
            loop.call_soon_threadsafe(failing.set)


def plugged_app(url: str, **plugins: Plugin) -> XQueue:
    """An app with these plugins."""
    app = make_app(url, plugins=list(plugins))
    app._plugins = PluginCache(plugins.__getitem__)
    return app


def told_of(recorder: Recorder, id: str) -> bool:
    """True if this task's end was told."""
    return any(end.id == id for end in recorder.ends)


@pytest.mark.parametrize("how", ["fails", "swallows"])
async def test_a_worker_goes_on_without_a_plugin_whose_own_task_fails(
    url: str, host: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = Failing(how), Recorder()
    failing.places = other.places = (Place.WORKER,)  # type: ignore[misc]
    begun, go_on = threading.Event(), threading.Event()
    async with plugged_app(url, failing=failing, other=other) as app:

        @app.task(max_retry=0)
        async def slow() -> str:
            begun.set()
            while not go_on.is_set():
                await anyio.sleep(0.005)
            return "done"

        async with hosted(app, host) as one:
            handle = await slow.submit()
            await until("it runs", begun.is_set)
            failing.fail()
            said = "plugin 'failing' has ended by that: it is told of nothing more"
            await until("that is said", lambda: said in caplog.text)
            assert app._plugins.failures() == {("failing", "open"): 1}
            go_on.set()
            assert await handle.result(10) == "done"
            await until("the other is told", partial(told_of, other, handle.id))
            assert await (await slow.submit()).result(10) == "done"
            assert one.error is None
    assert failing.ends == []
    assert other.closed == [Place.WORKER]
    reason = "OSError('the collector is away')" if how == "fails" else "it ended by itself"
    assert reason in caplog.text


async def test_a_client_goes_on_without_a_plugin_whose_own_task_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, other = Failing(), Recorder()
    async with plugged_app("memory://", failing=failing, other=other) as app:

        @app.task
        async def job() -> None: ...

        await job.submit()
        failing.fail()
        await until("that is said", lambda: "told of nothing more" in caplog.text)
        await job.submit()
    assert len(failing.opened) == 1  # it is not tried again
    assert (len(failing.batches), len(other.batches)) == (1, 2)


def test_a_loop_that_ends_ends_plugins_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    app = plugged_app("memory://", recorder=recorder)

    @app.task
    async def job() -> None: ...

    async def main() -> None:
        await job.submit()

    with caplog.at_level(logging.INFO, "xqueue.plugins"):
        asyncio.run(main())
    assert recorder.closed == [Place.CLIENT]
    assert [one for one in caplog.records if one.name == "xqueue.plugins"] == []


class Cancelling(Recorder):
    """Awaits something of its own, when it is opened or closed, that is cancelled."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    @asynccontextmanager
    async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
        """Raise CancelledError, though nobody has cancelled this."""
        own = asyncio.create_task(asyncio.Event().wait())
        own.cancel()
        if self.when == "open":
            await own
        yield Recording(self, settings)
        await own


async def test_what_cancels_itself_as_it_opens_cannot_be_opened(url: str, host: str) -> None:
    app = plugged_app(url, odd=Cancelling("open"))

    @app.task
    async def job() -> None: ...

    submit = asyncio.ensure_future(job.submit())
    await asyncio.wait([submit])
    assert not submit.cancelled()
    said = r"plugin 'odd' cannot be opened: CancelledError$"
    with pytest.raises(PluginFailed, match=said):
        submit.result()
    worker = Hosted(app, host)
    worker.start()
    error = await worker.ended()
    assert isinstance(error, PluginFailed)
    assert re.search(said, str(error))
    await app.aclose()


@pytest.mark.parametrize("raises", [True, False])
async def test_what_ends_as_soon_as_it_is_open_cannot_be_opened(raises: bool) -> None:
    class Short(Recorder):
        @asynccontextmanager
        async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
            try:
                yield Recording(self, settings)
            except asyncio.CancelledError:
                if raises:
                    raise OSError("at once") from None

    app = plugged_app("memory://", short=Short())

    @app.task
    async def job() -> None: ...

    said = "cannot be opened: " + ("OSError: at once" if raises else "it ended by itself")
    with pytest.raises(PluginFailed, match=said):
        await job.submit()
    await app.aclose()


async def test_what_cancels_itself_as_it_closes_is_logged(url: str, host: str) -> None:
    async with plugged_app(url, odd=Cancelling("close")) as app:

        @app.task
        async def job() -> None: ...

        async with hosted(app, host):
            await (await job.submit()).result(10)
        assert app._plugins.failures() == {("odd", "open"): 1}
    assert app._plugins.failures() == {("odd", "open"): 2}


async def test_a_submit_that_is_cancelled_while_a_plugin_opens_is_cancelled() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Recorder):
        @asynccontextmanager
        async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
            begun.set()
            await go_on.wait()
            yield Recording(self, settings)

    app = plugged_app("memory://", slow=Slow())

    @app.task
    async def job() -> None: ...

    submit = asyncio.ensure_future(job.submit())
    await begun.wait()
    submit.cancel()
    await asyncio.wait([submit])
    assert submit.cancelled()
    go_on.set()
    assert (await job.submit()).id
    await app.aclose()
