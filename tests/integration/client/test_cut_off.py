"""A submit that is cut off, by a close or by its caller, says its id and what is known of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trio

from support.apps import declare, make_app
from support.plain import clients, wait_until
from xqueue_core import Unavailable, Unknown, XQueue
from xqueue_core.calls import Accepted
from xqueue_core.task import Task


@pytest.fixture
def app(url: str) -> Iterator[XQueue]:
    """An app for plain code on a fresh broker."""
    app = make_app(url)
    yield app
    app.sync.close()


class Slow:
    """Lets puts of the client's thread be carried out, and their answers wait."""

    def __init__(self, app: XQueue) -> None:
        app.sync.handle("thumbnail:none").cancel()  # the connection is open from here on
        ((_, session),) = app._client._sessions._open.items()
        assert session._ready is not None
        queue: Any = session._ready.result().faces.queue
        put = queue.put
        self.done = threading.Event()

        async def slow(tasks: Sequence[Task]) -> Sequence[Accepted]:
            await put(tasks)
            self.done.set()
            await asyncio.Event().wait()
            raise AssertionError

        queue.put = slow


UNKNOWN = "the client was closed meanwhile: whether task thumbnail:one was accepted is unknown"


def test_plain_code_is_told_by_a_close_that_is_cut_off(app: XQueue) -> None:
    submit, slow, errors = declare(app).sync.options(id="one").submit, Slow(app), list[Exception]()

    def submits() -> None:
        try:
            submit("a.png")
        except Unknown as error:
            errors.append(error)

    thread = threading.Thread(target=submits)
    thread.start()
    slow.done.wait(10)
    app._client.elsewhere.stop()
    thread.join(10)
    assert str(errors[0]).startswith(UNKNOWN)
    assert app.sync.handle("thumbnail:one").info().task is not None


def test_plain_code_is_told_that_nothing_was_sent(app: XQueue) -> None:
    submit, slow, errors = declare(app).sync.options(id="two").submit, Slow(app), list[Exception]()

    def submits(id: str) -> None:
        try:
            submit.__self__.options(id=id).submit("a.png")
        except (Unknown, Unavailable) as error:
            errors.append(error)

    first = threading.Thread(target=submits, args=("one",))
    first.start()
    slow.done.wait(10)
    second = threading.Thread(target=submits, args=("two",))
    second.start()
    ((_, session),) = app._client._sessions._open.items()
    wait_until("it waits its turn", lambda: len(session._batcher) == 1)
    app._client.elsewhere.stop()
    for one in (first, second):
        one.join(10)
    assert {type(error) for error in errors} == {Unknown, Unavailable}
    (text,) = [str(error) for error in errors if isinstance(error, Unavailable)]
    assert text == (
        "the client was closed meanwhile: task thumbnail:two was not accepted: its submit was "
        "cancelled"
    )


def test_trio_is_told_by_a_close_that_is_cut_off(app: XQueue) -> None:
    thumbnail = declare(app).options(id="one")
    slow = Slow(app)
    errors: list[Exception] = []

    async def submits() -> None:
        try:
            await thumbnail.submit("a.png")
        except Unknown as error:
            errors.append(error)

    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(submits)
                await trio.to_thread.run_sync(slow.done.wait, 10)
                with trio.move_on_after(0.1):
                    await app.aclose()

    trio.run(main)
    assert str(errors[0]).startswith(UNKNOWN)


def test_a_cancelled_submit_of_trio_carries_a_note_with_its_id(app: XQueue) -> None:
    thumbnail = declare(app).options(id="one")
    slow = Slow(app)
    notes: list[str] = []

    async def submits(scope: trio.CancelScope) -> None:
        with scope:
            try:
                await thumbnail.submit("a.png")
            except trio.Cancelled as error:
                notes.extend(error.__notes__)
                raise

    async def main() -> None:
        with trio.fail_after(20):
            scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(submits, scope)
                await trio.to_thread.run_sync(slow.done.wait, 10)
                scope.cancel()

    trio.run(main)
    app._client.elsewhere.stop()  # a close would wait for that put
    assert notes == ["submit of thumbnail:one was cancelled, outcome unknown"]


def test_a_submit_of_trio_whose_scope_was_cancelled_before_begins_nothing(app: XQueue) -> None:
    thumbnail = declare(app)

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await thumbnail.submit("a.png")
        assert scope.cancelled_caught

    trio.run(main)
    assert clients() == 0


def test_a_submit_by_name_opens_nothing_on_a_loop_that_ends(app: XQueue) -> None:
    declare(app).sync.submit("a.png")
    stranger = make_app()
    stranger._backends, stranger._overrides = app._backends, app._overrides
    stranger.sync.handle("thumbnail:none").cancel()
    ((_, session),) = stranger._client._sessions._open.items()
    asked, closed, errors = threading.Event(), threading.Event(), list[Exception]()
    call = session.call

    async def slow(*args: Any) -> Any:
        answer = await call(*args)
        asked.set()
        await asyncio.to_thread(closed.wait, 10)
        return answer

    async def close() -> None:
        await stranger._client._sessions.end()
        closed.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=10)
        opened.append(len(stranger._client._sessions._open))

    def submits() -> None:
        try:
            stranger.sync.submit("thumbnail", path="a.png")
        except Unavailable as error:
            errors.append(error)

    opened: list[int] = []
    session.call = slow  # type: ignore[assignment,method-assign]
    thread = threading.Thread(target=submits)
    thread.start()
    asked.wait(10)
    stranger._client.elsewhere.end(close, "")
    thread.join(10)
    assert str(errors[0]) == "the client was closed meanwhile"
    assert opened == [0]
