"""Sessions: opened when needed, one for each loop and process, closed without loss."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.client_fakes import Clock, FakeBroker, until
from xqueue_core.client.retrying import Retrying
from xqueue_core.client.session import Session, Sessions
from xqueue_core.errors import ConfigError, Unavailable, Unknown, Unsupported
from xqueue_core.task import Task

pytestmark = pytest.mark.anyio


def task(id: str) -> Task:
    return Task(id=f"t:{id}", lane="t")


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def session(broker: FakeBroker) -> AsyncIterator[Session]:
    session = Session(broker.connect, Clock().retrying())
    yield session
    broker.queue.gate.set()
    await session.close()
    assert broker.opened == broker.closed


async def test_callers_share_one_connection(session: Session, broker: FakeBroker) -> None:
    first, second = await asyncio.gather(session.connection(), session.connection())
    assert first is second
    assert broker.opened == 1


async def test_a_connection_that_does_not_open_is_tried_again(
    session: Session, broker: FakeBroker
) -> None:
    broker.faults = [Unavailable("down"), Unavailable("down")]
    await session.submit(task("1"))
    assert broker.opened == 1


async def test_what_is_configured_wrong_is_told_at_once(
    session: Session, broker: FakeBroker
) -> None:
    broker.faults = [ConfigError("no such plugin")]
    with pytest.raises(ConfigError, match="no such plugin"):
        await session.submit(task("1"))


async def test_the_first_caller_may_go_while_it_opens(session: Session, broker: FakeBroker) -> None:
    first = asyncio.create_task(session.connection())
    second = asyncio.create_task(session.connection())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).faces.queue is broker.queue


async def test_a_connection_that_broke_is_opened_anew(broker: FakeBroker) -> None:
    session = Session(broker.connect, Clock().retrying())
    before = await session.connection()
    assert session._holder is not None
    session._holder.cancel()
    await until(lambda: broker.closed == 1, "the connection is closed")
    after = await session.connection()
    assert after is not before
    await session.close()


async def test_submits_are_sent_together(session: Session, broker: FakeBroker) -> None:
    await asyncio.gather(*(session.submit(task(str(n))) for n in range(100)))
    assert len(broker.queue.puts) == 1


async def test_a_submit_cancelled_under_way_says_so(session: Session, broker: FakeBroker) -> None:
    broker.queue.gate.clear()
    submit = asyncio.create_task(session.submit(task("1")))
    await broker.queue.called.wait()
    submit.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await submit
    message, id = caught.value.args
    assert "t:1" in message
    assert "outcome unknown" in message
    assert id == "t:1"
    assert submit.cancelled()


async def test_a_submit_cancelled_before_it_was_sent_says_so(
    session: Session, broker: FakeBroker
) -> None:
    broker.queue.gate.clear()
    other = asyncio.create_task(session.submit(task("1")))
    await broker.queue.called.wait()
    submit = asyncio.create_task(session.submit(task("2")))
    await asyncio.sleep(0)
    submit.cancel()
    with pytest.raises(asyncio.CancelledError, match="t:2 was cancelled, nothing was sent"):
        await submit
    broker.queue.gate.set()
    await other
    assert broker.queue.puts == [["t:1"]]


async def test_many_submits_cancelled_tell_how_many_were_sent(
    session: Session, broker: FakeBroker
) -> None:
    broker.queue.gate.clear()
    submit = asyncio.create_task(session.submit_many([task("1"), task("2")]))
    await broker.queue.called.wait()
    submit.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await submit
    assert "of 2 tasks was cancelled, outcome unknown of 2" in caught.value.args[0]
    assert caught.value.args[1:] == ("t:1", "t:2")


async def test_a_timeout_around_a_submit_works_as_ever(
    session: Session, broker: FakeBroker
) -> None:
    broker.queue.gate.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await session.submit(task("1"))


async def test_a_broker_that_hangs_is_given_up_at_the_deadline(broker: FakeBroker) -> None:
    broker.queue.gate.clear()
    session = Session(broker.connect, Retrying(deadline=0.05))
    with pytest.raises(Unknown, match="whether task t:1 was accepted is unknown"):
        await session.submit(task("1"))
    await session.close()


async def test_closing_sends_what_waits(broker: FakeBroker) -> None:
    broker.queue.gate.clear()
    session = Session(broker.connect, Clock().retrying())
    submits = [asyncio.create_task(session.submit(task("1")))]
    await broker.queue.called.wait()
    submits.append(asyncio.create_task(session.submit(task("2"))))
    await asyncio.sleep(0)
    closing = asyncio.create_task(session.close())
    await asyncio.sleep(0)
    broker.queue.gate.set()
    await closing
    await asyncio.gather(*submits)
    assert broker.queue.puts == [["t:1"], ["t:2"]]
    assert (broker.opened, broker.closed) == (1, 1)


# -- which session -----------------------------------------------------------------------------


def test_each_loop_has_its_session(broker: FakeBroker) -> None:
    sessions = Sessions(broker.connect, Retrying())
    seen: list[Session] = []

    async def use() -> None:
        seen.append(sessions.current())
        assert sessions.current() is seen[-1]
        await seen[-1].connection()

    # Nobody closes them: asyncio.run() cancels what holds the connection, which closes it.
    asyncio.run(use())
    asyncio.run(use())
    assert seen[0] is not seen[1]
    assert (broker.opened, broker.closed) == (2, 2)
    # The loop that is gone is forgotten.
    assert list(sessions._open.values()) == [seen[1]]


def test_threads_that_begin_at_once_keep_their_sessions(broker: FakeBroker) -> None:
    """One must not be dropped from the list while another is entered: it were never closed."""
    sessions = Sessions(broker.connect, Retrying())
    looking, entered = threading.Event(), threading.Event()

    class Old(asyncio.SelectorEventLoop):
        def is_closed(self) -> bool:
            if sessions._open and not looking.is_set():
                looking.set()
                entered.wait(0.5)  # only where another may enter its session meanwhile it does
            return super().is_closed()

    async def first() -> Session:
        return sessions.current()

    async def second() -> tuple[Session, Session]:
        assert looking.wait(10)
        session = sessions.current()
        entered.set()
        done.wait(10)
        return session, sessions.current()

    with ThreadPoolExecutor(2) as pool, asyncio.Runner(loop_factory=Old) as runner:
        done = threading.Event()
        runner.run(first())
        one = pool.submit(asyncio.run, first())
        two = pool.submit(asyncio.run, second())
        one.result(10)
        done.set()
        before, after = two.result(10)
    assert before is after


def test_without_a_loop_there_is_no_session(broker: FakeBroker) -> None:
    with pytest.raises(Unsupported, match="none is running here"):
        Sessions(broker.connect, Retrying()).current()


async def test_a_closed_session_is_followed_by_another(broker: FakeBroker) -> None:
    sessions = Sessions(broker.connect, Retrying())
    await sessions.close()
    await sessions.current().submit(task("1"))
    await sessions.close()
    await sessions.current().submit(task("2"))
    await sessions.close()
    assert (broker.opened, broker.closed) == (2, 2)


async def test_a_forked_child_opens_its_own(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(broker.connect, Retrying())
    inherited = sessions.current()
    await inherited.connection()
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    own = sessions.current()
    assert own is not inherited
    await own.connection()
    await sessions.close()
    assert (broker.opened, broker.closed) == (2, 1)
    monkeypatch.undo()
    await inherited.close()
