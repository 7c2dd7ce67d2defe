"""Sessions: opened when needed, one for each loop and process, closed without loss."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from support.client_fakes import Clock, FakeBroker, until
from xqueue_core.calls import Accepted, AnyCommand, Cancel, Put, Verdict
from xqueue_core.client.retrying import Retrying
from xqueue_core.client.session import BATCH_BYTES, Session, Sessions
from xqueue_core.errors import ConfigError, Refused, Unavailable, Unknown, Unsupported
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


async def test_a_put_has_no_more_bytes_than_its_time_is_enough_for(
    session: Session, broker: FakeBroker
) -> None:
    large = [Task(id=f"t:{n}", lane="t", payload=b"x" * (BATCH_BYTES // 3)) for n in range(7)]
    await asyncio.gather(*map(session.submit, large))
    assert [len(ids) for ids in broker.queue.puts] == [3, 3, 1]


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


async def test_a_put_that_cannot_be_given_up_in_time_leaves_it_unknown(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def stubborn(tasks: Sequence[Task]) -> Sequence[Accepted]:
        while not release.is_set():  # as a thread of SQLite that waits for a lock
            with suppress(asyncio.CancelledError):
                await release.wait()
        return [Accepted(Put.NEW) for _ in tasks]

    monkeypatch.setattr("xqueue_core.client.session.CLOSING", 0.02)
    broker.queue.put = stubborn  # type: ignore[method-assign]
    session = Session(broker.connect, Retrying(deadline=0.03))
    with pytest.raises(Unknown, match="whether task t:1 was accepted is unknown"):
        await session.submit(task("1"))
    release.set()
    await session.close()


async def test_a_command_refused_after_a_try_that_may_have_happened_is_unknown(
    session: Session, broker: FakeBroker
) -> None:
    faults: list[Exception] = []
    tries = 0

    async def control(commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        nonlocal tries
        tries += 1
        raise faults.pop(0)

    broker.queue.control = control  # type: ignore[method-assign]
    faults += [Unknown("no reply"), Unavailable("down"), Refused("read only")]
    with pytest.raises(Unknown, match="may have been carried out; then: read only") as caught:
        await session.control(Cancel("t:1"))
    assert isinstance(caught.value.__cause__, Refused)
    # Of what certainly has not happened the reason is told.
    faults += [Unavailable("down"), Refused("read only")]
    with pytest.raises(Refused, match="read only"):
        await session.control(Cancel("t:1"))
    assert tries == 5

    # A question changes nothing.
    faults += [Unknown("no reply"), Refused("read only")]
    with pytest.raises(Refused, match="read only"):
        await session.call(lambda connection: connection.faces.queue.control([Cancel("t:1")]))


async def test_a_command_for_a_broker_that_never_opened_did_not_happen(
    session: Session, broker: FakeBroker
) -> None:
    broker.faults = [Unknown("no reply to the greeting"), ConfigError("no such plugin")]
    with pytest.raises(ConfigError, match="no such plugin"):
        await session.control(Cancel("t:1"))
    broker.faults = [Unknown("no reply to the greeting")] * 100
    with pytest.raises(Unavailable, match="no reply to the greeting"):
        await session.control(Cancel("t:1"))


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


async def test_a_close_that_cuts_off_a_put_leaves_it_unknown(broker: FakeBroker) -> None:
    broker.queue.gate.clear()
    session = Session(broker.connect, Clock().retrying())
    first = asyncio.create_task(session.submit(task("1")))
    await broker.queue.called.wait()
    others = [
        asyncio.create_task(session.submit(task("2"))),
        asyncio.create_task(session.submit_many([task("3"), task("4")])),
    ]
    await asyncio.sleep(0.01)
    session.abandon()
    with pytest.raises(Unknown, match=r"t:1 .*unknown \(the client was closed meanwhile\)"):
        await first
    one, many = await asyncio.gather(*others, return_exceptions=True)
    for error in [one, *many]:  # type: ignore[misc]
        assert isinstance(error, Unavailable)
        assert "was not accepted: the client was closed meanwhile" in str(error)
    await session.close()
    assert broker.queue.puts == [["t:1"]]


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


async def test_on_a_loop_that_ends_nothing_is_opened_any_more(broker: FakeBroker) -> None:
    sessions = Sessions(broker.connect, Clock().retrying())
    await sessions.current().submit(task("1"))
    await sessions.end()
    with pytest.raises(Unavailable, match="the client was closed meanwhile"):
        sessions.current()
    assert (broker.opened, broker.closed) == (1, 1)

    async def elsewhere() -> None:
        await sessions.current().submit(task("2"))
        await sessions.close()

    await asyncio.to_thread(asyncio.run, elsewhere())
    assert broker.opened == 2


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
