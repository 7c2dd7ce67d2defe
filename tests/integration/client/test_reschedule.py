"""``handle.reschedule()`` against real backends, async and in plain code."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from support.apps import declare
from support.hand_worker import hand_worker
from xqueue_core import State, XQueue
from xqueue_core.calls import Did
from xqueue_core.task import EventName

pytestmark = pytest.mark.anyio

LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)


async def test_a_delayed_task_is_given_another_time(app: XQueue) -> None:
    handle = await declare(app).options(delay=3600).submit("a.png")
    assert await handle.reschedule(run_at=LATER) is Did.APPLIED
    info = await handle.info()
    assert (info.state, info.due_at) == (State.SCHEDULED, LATER.timestamp())
    assert await handle.reschedule(delay=0) is Did.APPLIED
    async with hand_worker(app):
        assert await handle.result(timeout=10) == {"path": "a.png"}
    assert await handle.reschedule(delay=1) is Did.FINAL
    assert await app.handle("thumbnail:nobody").reschedule(delay=1) is Did.UNKNOWN


async def test_one_that_is_due_waits_anew(app: XQueue) -> None:
    handle = await declare(app).submit("a.png")
    assert await handle.reschedule(delay=timedelta(hours=1)) is Did.APPLIED
    info = await handle.info()
    assert (info.state, info.due_at > info.accepted_at + 3599) == (State.SCHEDULED, True)


async def test_its_event_tells(app: XQueue) -> None:
    handle = await declare(app).options(delay=3600).submit("a.png")
    stream = handle.events()
    coming = asyncio.ensure_future(anext(stream))
    while not coming.done():  # a subscription takes a moment to begin
        await handle.reschedule(delay=7200)
        await asyncio.wait([coming], timeout=0.05)
    notice = coming.result()
    assert notice.event is not None
    assert notice.event.name is EventName.RESCHEDULED
    await stream.aclose()


async def test_plain_code_does_it_too(app: XQueue) -> None:
    thumbnail = declare(app)

    def plain() -> None:
        handle = thumbnail.options(delay=3600).sync.submit("a.png")
        assert handle.reschedule(run_at=LATER) is Did.APPLIED
        assert handle.info().due_at == LATER.timestamp()
        assert handle.reschedule(delay=60) is Did.APPLIED
        assert handle.info().due_at < LATER.timestamp()

    await asyncio.to_thread(plain)
    await asyncio.to_thread(app.sync.close)
