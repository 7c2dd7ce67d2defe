"""A caller that is gone before anything was sent: what he hears, and what is kept of his."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.apps import declare
from support.client_fakes import Clock, FakeBroker
from support.recorder import Recorder, Recording, recorded
from xqueue_core.client.session import Session
from xqueue_core.connect import Connection
from xqueue_core.hooks import Hooks, Site
from xqueue_core.task import Task

pytestmark = pytest.mark.anyio


class Headers(dict[str, str]):
    """Headers that can be looked for."""


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is freed but by the end of its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("many", [False, True])
async def test_what_was_to_be_sent_is_let_go_of_while_the_connection_opens(many: bool) -> None:
    broker, reached, opens = FakeBroker(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        reached.set()
        await opens.wait()
        async with broker.connect() as connection:
            yield connection

    session = Session(connect, Clock().retrying())
    kept: list[weakref.ref[Headers]] = []

    async def submits() -> None:
        task = Task(id="t:1", lane="t", headers=Headers())
        kept.append(weakref.ref(task.headers))  # type: ignore[arg-type]
        await (session.submit_many([task]) if many else session.submit(task))

    submit = asyncio.create_task(submits())
    await reached.wait()
    submit.cancel()
    await asyncio.wait([submit])
    assert submit.cancelled()
    del submit
    await asyncio.sleep(0)
    assert kept[0]() is None
    opens.set()
    await session.close()
    assert broker.queue.puts == []


class Slow(Recorder):
    """A plugin that takes long to open."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.opens = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
        """When it is told to."""
        self.reached.set()
        await self.opens.wait()
        yield Recording(self, settings)


@pytest.mark.parametrize("many", [False, True])
async def test_a_cancel_while_plugins_open_says_that_nothing_was_sent(many: bool) -> None:
    plugin = Slow()
    app = recorded("memory://", plugin)
    task = declare(app).options(id="1")
    call = task.call("a.png")
    submit: asyncio.Task[Any] = asyncio.create_task(
        app.submit_many([call]) if many else task.submit("a.png")
    )
    await plugin.reached.wait()
    submit.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await submit
    if many:
        assert caught.value.args == ("submit of 1 tasks was cancelled, outcome unknown of 0",)
    else:
        said = "submit of thumbnail:1 was cancelled, nothing was sent"
        assert caught.value.args == (said, "thumbnail:1")
    plugin.opens.set()
    await app.aclose()
