"""Submits that are cancelled, or cut off by a close: what is told of them, and that it holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from support.client_fakes import Clock, FakeBroker
from xqueue_core.calls import Accepted, Put
from xqueue_core.client.retrying import Retrying, Runtime
from xqueue_core.client.sending import Sender, Submission
from xqueue_core.client.session import Session
from xqueue_core.errors import InvalidTask, Unavailable, Unknown
from xqueue_core.task import Task

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def session(broker: FakeBroker) -> AsyncIterator[Session]:
    session = Session(broker.connect, Clock().retrying())
    yield session
    broker.queue.gate.set()
    await session.close()


def task(id: str) -> Task:
    return Task(id=f"t:{id}", lane="t")


def one(id: str) -> Submission:
    return Submission(Task(id=id, lane="t"), 30.0)


async def test_one_whose_caller_was_told_that_nothing_was_sent_is_not_sent(clock: Clock) -> None:
    broker, gone, kept = FakeBroker(), one("t:1"), one("t:2")

    async def connect() -> Any:
        assert str(gone.cancelled()) == "('submit of t:1 was cancelled, nothing was sent', 't:1')"
        return await broker.connection()

    answers = await Sender(connect, clock.retrying()).flush([gone, kept])
    assert answers[1] == Accepted(Put.NEW)
    assert broker.queue.puts == [["t:2"]]


async def test_one_whose_caller_was_told_that_nothing_was_accepted_is_not_tried_again(
    clock: Clock,
) -> None:
    broker, gone, kept = FakeBroker(), one("t:1"), one("t:2")
    broker.queue.faults = [Unavailable("down")]
    said: list[str] = []

    async def sleep(seconds: float) -> None:
        said.append(str(gone.cancelled().args[0]))
        await clock.sleep(seconds)

    retrying = Retrying(Runtime(clock, lambda: 1.0, sleep), 30.0)
    answers = await Sender(broker.connection, retrying).flush([gone, kept])
    assert said == ["submit of t:1 was cancelled, nothing was accepted"]
    assert isinstance(answers[0], Unavailable)
    assert answers[1] == Accepted(Put.NEW)
    assert broker.queue.puts == [["t:1", "t:2"], ["t:2"]]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Accepted(Put.NEW), "; it was accepted"),
        (Accepted(Put.UNDECIDED), "; it was accepted"),
        (Accepted(Put.DUPLICATE, of="t:0"), "; it is known already, as t:0"),
        (Accepted(Put.REJECTED, error=InvalidTask("bad")), ", nothing was accepted"),
    ],
)
async def test_an_answer_counts_from_the_moment_it_is_there(
    clock: Clock, answer: Accepted, told: str
) -> None:
    """Its caller gets it only with those of its batch that the broker could not judge."""
    broker, first, other = FakeBroker(), one("t:1"), one("t:2")
    tries: list[list[str]] = []

    async def put(tasks: Sequence[Task]) -> Sequence[Accepted]:
        tries.append([task.id for task in tasks])
        return [answer if task.id == "t:1" else Accepted(Put.UNKNOWN) for task in tasks]

    broker.queue.put = put  # type: ignore[method-assign]
    seen: list[tuple[object, str]] = []

    async def sleep(seconds: float) -> None:
        seen.append((first.given_up(Unavailable("closed")), str(first.cancelled().args[0])))
        await clock.sleep(seconds)

    retrying = Retrying(Runtime(clock, lambda: 1.0, sleep), 30.0)
    answers = await Sender(broker.connection, retrying).flush([first, other])
    assert seen[0] == (answer.error or answer, f"submit of t:1 was cancelled{told}")
    assert answers[0] == (answer.error or answer)
    assert isinstance(answers[1], Unknown)
    assert tries[1] == ["t:2"]


@pytest.mark.parametrize("seen", ["before", "under way", "failed"])
def test_what_is_said_of_one_that_is_given_up(seen: str) -> None:
    submission = one("t:1")
    submission.sent, submission.under_way = seen != "before", seen == "under way"
    error = submission.given_up(Unavailable("no time"))
    assert type(error) is (Unknown if seen == "under way" else Unavailable)


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


async def test_a_submit_cancelled_as_its_answer_comes_says_that_it_was_accepted(
    session: Session, broker: FakeBroker
) -> None:
    put = broker.queue.put

    async def cut_off(tasks: Sequence[Task]) -> Sequence[Accepted]:
        answers = await put(tasks)
        # The answer has come, and is on its way to the caller.
        asyncio.get_running_loop().call_soon(submit.cancel)
        return answers

    broker.queue.put = cut_off  # type: ignore[method-assign]
    submit = asyncio.create_task(session.submit(task("1")))
    with pytest.raises(asyncio.CancelledError) as caught:
        await submit
    assert caught.value.args == ("submit of t:1 was cancelled; it was accepted", "t:1")
    assert isinstance(caught.value.__cause__, Unknown)  # what a close that cuts it off tells
    assert "the submit of task t:1 was cut off, but it was accepted" in str(caught.value.__cause__)


async def partly(broker: FakeBroker) -> asyncio.Event:
    """From now on the broker cannot judge t:2; set once it was asked twice."""
    put, twice = broker.queue.put, asyncio.Event()

    async def judge(tasks: Sequence[Task]) -> Sequence[Accepted]:
        if len(tasks) == 1:
            twice.set()
            await broker.queue.gate.wait()
            return await put(tasks)
        answers = await put(tasks[:1])
        broker.queue.gate.clear()
        return [*answers, Accepted(Put.UNKNOWN)]

    broker.queue.put = judge  # type: ignore[method-assign]
    return twice


async def test_many_submits_cancelled_tell_which_were_accepted(
    session: Session, broker: FakeBroker
) -> None:
    twice = await partly(broker)
    submit = asyncio.create_task(session.submit_many([task("1"), task("2")]))
    await twice.wait()
    submit.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await submit
    assert caught.value.args == (
        "submit of 2 tasks was cancelled, 1 accepted, outcome unknown of 1",
        "t:1",
        "t:2",
    )


async def test_many_submits_cancelled_between_two_tries_are_not_tried_again(
    broker: FakeBroker,
) -> None:
    clock, failed = Clock(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        failed.set()
        await asyncio.sleep(0.01)

    session = Session(broker.connect, Retrying(Runtime(clock, sleep=sleep)))
    broker.queue.faults = [Unavailable("down")]
    submit = asyncio.create_task(session.submit_many([task("1"), task("2")]))
    await failed.wait()
    submit.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await submit
    assert caught.value.args == ("submit of 2 tasks was cancelled, outcome unknown of 0",)
    await session.close()
    assert broker.queue.puts == [["t:1", "t:2"]]


async def test_one_that_was_accepted_is_told_so_by_a_close(broker: FakeBroker) -> None:
    twice = await partly(broker)
    session = Session(broker.connect, Clock().retrying())
    first = asyncio.create_task(session.submit(task("1")))
    second = asyncio.create_task(session.submit(task("2")))
    await twice.wait()
    session.abandon()
    assert await first == Accepted(Put.NEW)
    with pytest.raises(Unknown, match="whether task t:2 was accepted is unknown"):
        await second
    await session.close()
