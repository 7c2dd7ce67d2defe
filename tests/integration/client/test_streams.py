"""Streams on asyncio, on trio and in plain code; and their end when the consumer breaks off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

import anyio
import anyio.to_thread
import pytest

from support.apps import declare, make_app
from support.plain import background, clients, wait_until
from xqueue_core import Handle, State, Unavailable, XQueue, as_completed
from xqueue_core.abc import Notice
from xqueue_core.connect import Connection
from xqueue_core.task import EventName
from xqueue_core.views import Filter


class Streams:
    """Counts the subscriptions of a client, and those that have ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0

    @property
    def open(self) -> int:
        """How many there are now."""
        return self.begun - self.ended

    def watch(self, app: XQueue) -> None:
        """From the next connection on."""
        connect = app._client._sessions._connect

        def connected() -> Any:
            return _Watched(connect(), self)

        app._client._sessions._connect = connected


class _Watched:
    def __init__(self, connecting: Any, streams: Streams) -> None:
        self._connecting = connecting
        self._streams = streams

    async def __aenter__(self) -> Connection:
        connection: Connection = await self._connecting.__aenter__()
        notifier: Any = connection.faces.notifier
        subscribe = notifier.subscribe

        async def counted(filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
            if not filter.ids:  # that of those who wait for results
                async for notice in subscribe(filter, after):
                    yield notice
                return
            self._streams.begun += 1
            try:
                async with aclosing(subscribe(filter, after)) as stream:
                    async for notice in stream:
                        yield notice
            finally:
                self._streams.ended += 1

        notifier.subscribe = counted
        return connection

    async def __aexit__(self, *error: Any) -> None:
        await self._connecting.__aexit__(*error)


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def app(url: str, streams: Streams) -> Iterator[XQueue]:
    app = make_app(url)
    streams.watch(app)
    yield app
    app.sync.close()


def waits(app: XQueue) -> int:
    """For how many tasks an end is waited for, on all loops."""
    return sum(len(one.watcher._waits) for one in app._client._sessions._open.values())


Main = Callable[[], Awaitable[None]]
BOTH = pytest.mark.parametrize("loop", ["asyncio", "trio"])


def run(loop: str, main: Main) -> None:
    """Run on this kind of loop, for so long that nothing but a fault takes longer."""

    async def limited() -> None:
        with anyio.fail_after(20):
            await main()

    anyio.run(limited, backend=loop)


async def eventually(what: str, condition: Callable[[], Any]) -> None:
    """Wait on either kind of loop."""
    with anyio.move_on_after(10):
        while not condition():
            await anyio.sleep(0.005)
        return
    raise AssertionError(f"it did not come about: {what}")


@BOTH
def test_events_come_and_end_with_the_task(app: XQueue, streams: Streams, loop: str) -> None:
    @app.task
    async def add(a: int) -> int:
        return a

    async def main() -> None:
        handle = await add.submit(1)
        seen = [one async for one in handle.events("0.0")]
        names = [one.event.name for one in seen if one.event is not None]
        assert names == [EventName.ACCEPTED, EventName.LEASED, EventName.FINISHED]
        again = [one.cursor async for one in handle.events(after=seen[0].cursor)]
        assert again == [one.cursor for one in seen[1:]]
        await eventually("they have ended", lambda: streams.ended == streams.begun == 2)
        await app.aclose()

    with background(app):
        run(loop, main)


@BOTH
def test_handles_come_as_their_tasks_end(app: XQueue, loop: str) -> None:
    @app.task
    async def add(a: int) -> int:
        return a

    async def main() -> None:
        handles = await app.submit_many(add.call(n) for n in range(30))
        ended = {one.id: await one.result() async for one in as_completed(handles, timeout=15)}
        assert ended == {one.id: n for n, one in enumerate(handles)}
        none: list[Handle[int]] = []
        assert [one async for one in as_completed(none)] == []
        last = await add.options(delay=60).submit(1)
        with pytest.raises(
            TimeoutError, match=r"task add:.* has not ended within 0\.05 s: it is scheduled"
        ):
            await anext(as_completed([last], timeout=0.05))
        await app.aclose()

    with background(app):
        run(loop, main)


def closing(stream: Any) -> aclosing[Any]:
    """Every such stream has an end by hand, whatever its type says."""
    return aclosing(stream)


async def break_off(stream: AsyncIterator[Any], how: str) -> Any:
    """Take one item, then leave; what was taken."""
    if how == "break":
        async for item in stream:
            return item
    elif how == "error":
        try:
            async for item in stream:
                raise ZeroDivisionError(item)
        except ZeroDivisionError as error:
            return error.args[0]
    elif how == "close":
        async with closing(stream):
            return await anext(stream)
    items = []
    with anyio.move_on_after(0.1):  # as it waits for the next one
        async for item in stream:
            items.append(item)
    assert len(items) == 1
    return items[0]


WAYS = pytest.mark.parametrize("how", ["break", "error", "close", "cancel"])


@BOTH
@WAYS
def test_who_breaks_off_has_the_events_ended(
    app: XQueue, streams: Streams, loop: str, how: str
) -> None:
    thumbnail = declare(app)

    async def main() -> None:
        handle: Handle[Any] = await thumbnail.submit("a.png")
        first = await break_off(handle.events("0.0"), how)
        assert first.event.name is EventName.ACCEPTED
        await eventually("the subscription has ended", lambda: streams.ended == 1)
        assert await handle.state() is State.PENDING, "the client goes on"
        await app.aclose()

    run(loop, main)


@BOTH
@WAYS
def test_who_breaks_off_has_the_waits_ended(app: XQueue, loop: str, how: str) -> None:
    thumbnail = declare(app)

    async def main() -> None:
        ended, later = [await thumbnail.submit("a.png") for _ in range(2)]
        await ended.cancel()
        assert (await break_off(as_completed([later, ended]), how)).id == ended.id
        await eventually("no wait is left", lambda: waits(app) == 0)
        assert await later.state() is State.PENDING, "the client goes on"
        await app.aclose()

    run(loop, main)


@pytest.mark.parametrize("how", ["break", "error", "close", "interrupt"])
def test_plain_code_breaks_off(app: XQueue, streams: Streams, how: str) -> None:
    thumbnail = declare(app)
    ended, later = [thumbnail.sync.submit("a.png") for _ in range(2)]
    ended.cancel()
    leave(later.events("0.0"), how)
    leave(app.sync.as_completed([later, ended]), how)
    wait_until("the subscription has ended", lambda: streams.ended == 1)
    wait_until("no wait is left", lambda: waits(app) == 0)
    assert later.state() is State.PENDING


def leave(stream: Iterator[Any], how: str) -> None:
    """Take one item, then break off."""
    if how == "break":
        for _ in stream:
            break
    elif how == "close":
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    else:
        error = ZeroDivisionError if how == "error" else KeyboardInterrupt
        try:
            for _ in stream:
                raise error
        except error:
            pass


@pytest.mark.parametrize("close", ["aclose", "sync"])
def test_a_close_ends_the_streams_of_trio(app: XQueue, streams: Streams, close: str) -> None:
    thumbnail = declare(app)

    async def main() -> None:
        handle: Handle[Any] = await thumbnail.submit("a.png")
        async with closing(handle.events("0.0")) as idle, closing(handle.events("0.0")) as busy:
            await anext(idle)
            await anext(busy)
            async with anyio.create_task_group() as group:
                group.start_soon(follow, busy)
                await eventually("both are open", lambda: streams.open == 2)
                if close == "aclose":
                    await app.aclose()
                else:
                    await anyio.to_thread.run_sync(app.sync.close)
            with pytest.raises(Unavailable, match="the client was closed meanwhile"):
                await anext(idle)
        await eventually("they have ended", lambda: streams.ended == 2)
        await eventually("the thread has ended", lambda: clients() == 0)

    async def follow(stream: AsyncIterator[Any]) -> None:
        with pytest.raises(Unavailable, match="the client was closed meanwhile"):
            await anext(stream)

    run("trio", main)
