"""The lanes of types while tasks are sent: recorded once, looked up where others declare them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from support.client_fakes import Clock, FakeBroker
from xqueue_core.calls import Accepted, AnyCommand, Declare, Did, Locate, Put, Verdict
from xqueue_core.client.lanes import ByName
from xqueue_core.client.sending import LOOK, Sender, Submission
from xqueue_core.errors import ConfigError, Unavailable, UnknownType
from xqueue_core.task import Task
from xqueue_core.views import LaneStats, Stats, TypeStats

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sender(broker: FakeBroker, clock: Clock) -> Sender:
    return Sender(broker.connection, clock.retrying())


def one(id: str, lane: str = "t") -> Submission:
    return Submission(Task(id=id, lane=lane), 90.0)


async def test_a_type_that_others_have_moved_is_refused_and_not_taken_back(clock: Clock) -> None:
    broker = FakeBroker()
    sending = sender(broker, clock)
    await sending.flush([one("t:1"), one("u:1", lane="old")])
    broker.queue.lanes["u"] = "new"
    clock.now += LOOK - 0.1
    await sending.flush([one("t:2"), one("u:2", lane="old")])
    assert broker.queue.located == []  # a batch is one call
    for n in (3, 4):
        clock.now += LOOK / n
        answers = await sending.flush([one(f"t:{n}"), one(f"u:{n}", lane="old")])
        assert answers[0] == Accepted(Put.NEW)
        assert isinstance(answers[1], ConfigError)
        assert "in lane 'old' here, but others have moved it to lane 'new'" in str(answers[1])
    assert broker.queue.located == ["t", "u", "u"]
    assert len(broker.queue.declared) == 2
    broker.queue.lanes["u"] = "old"
    assert await sending.flush([one("u:5", lane="old")]) == [Accepted(Put.NEW)]


async def test_a_type_that_the_broker_has_lost_is_declared_again(clock: Clock) -> None:
    broker = FakeBroker()
    sending = sender(broker, clock)
    await sending.flush([one("t:1")])
    broker.queue.lanes.clear()
    clock.now += LOOK
    assert await sending.flush([one("t:2")]) == [Accepted(Put.NEW)]
    assert broker.queue.declared == [("t", "t")] * 2


async def test_a_broker_that_does_not_locate_is_believed_to_keep_types(clock: Clock) -> None:
    broker, asked = FakeBroker(), list[AnyCommand]()

    async def control(commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        asked.extend(commands)
        return [Verdict(Did.UNSUPPORTED) for _ in commands]

    broker.queue.control = control  # type: ignore[method-assign]
    sending = sender(broker, clock)
    for n in range(2):
        assert await sending.flush([one(f"t:{n}")]) == [Accepted(Put.NEW)]
        clock.now += LOOK
    assert asked == [Declare("t", "t"), Locate("t")]


# -- types that others declare ---------------------------------------------------------------------


def named(id: str, lane: str = "seen") -> Submission:
    return Submission(ByName(id=id, lane=lane), 30.0)


async def test_what_others_declare_is_located_for_each_try_and_declared_by_nobody(
    clock: Clock,
) -> None:
    broker = FakeBroker()
    broker.queue.lanes = {"u": "first", "t": "t"}
    put, lanes = broker.queue.put, list[str]()

    async def moving(tasks: Sequence[Task]) -> Sequence[Accepted]:
        lanes.append(tasks[0].lane)
        if len(lanes) == 1:
            broker.queue.lanes["u"] = "second"
            raise Unavailable("down")
        return await put(tasks)

    broker.queue.put = moving  # type: ignore[method-assign]
    sending = sender(broker, clock)
    assert await sending.flush([named("u:1"), named("u:2"), one("t:1")]) == [Accepted(Put.NEW)] * 3
    assert lanes == ["first", "second"]
    assert broker.queue.located == ["u", "u"]
    assert broker.queue.declared == [("t", "t")]


def test_a_plugin_that_adds_headers_leaves_it_one_that_others_declare() -> None:
    added = msgspec.structs.replace(named("u:1").task, headers={"trace": "1"})
    assert isinstance(added, ByName)
    assert msgspec.msgpack.encode(added) == msgspec.msgpack.encode(
        Task(id="u:1", lane="seen", headers={"trace": "1"})
    )


async def test_what_nobody_declares_any_more_is_refused_alone(clock: Clock) -> None:
    broker = FakeBroker()
    answers = await sender(broker, clock).flush([named("u:1"), named("u:2"), one("t:1")])
    assert [type(answer) for answer in answers] == [UnknownType, UnknownType, Accepted]
    assert broker.queue.puts == [["t:1"]]


async def test_a_broker_that_does_not_locate_is_asked_by_its_view(clock: Clock) -> None:
    broker = FakeBroker()

    async def control(commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        return [Verdict(Did.UNSUPPORTED) for _ in commands]

    async def stats() -> Stats:
        return Stats(lanes={"slow": LaneStats(types={"u": TypeStats()})})

    broker.queue.control = control  # type: ignore[method-assign]
    broker.view.stats = stats  # type: ignore[method-assign]
    submission = named("u:1")
    assert await sender(broker, clock).flush([submission]) == [Accepted(Put.NEW)]
    assert submission.task.lane == "slow"
