"""Sending: repeated under the same id until the deadline, each item's fate its own."""

from __future__ import annotations

from typing import Any

import pytest

from support.client_fakes import Clock, FakeBroker
from xqueue_core.calls import ALL_ABILITIES, Accepted, Put
from xqueue_core.client.sending import Sender, Submission
from xqueue_core.errors import (
    ConfigError,
    InvalidTask,
    PayloadTooLarge,
    Refused,
    Unavailable,
    Unknown,
    Unsupported,
)
from xqueue_core.task import Task

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sender(broker: FakeBroker, clock: Clock) -> Sender:
    return Sender(broker.connection, clock.retrying())


def one(id: str = "t:1", until: float = 30.0, **options: Any) -> Submission:
    return Submission(Task(id=id, lane=options.pop("lane", "t"), **options), until)


async def test_a_batch_is_put_in_one_call_after_its_types_were_declared(clock: Clock) -> None:
    broker = FakeBroker()
    sending = sender(broker, clock)
    answers = await sending.flush([one("t:1"), one("t:2"), one("u:1", lane="slow")])
    assert [answer.put for answer in answers if isinstance(answer, Accepted)] == [Put.NEW] * 3
    assert broker.queue.puts == [["t:1", "t:2", "u:1"]]
    assert broker.queue.declared == [("t", "t"), ("u", "slow")]
    await sending.flush([one("t:3")])
    assert len(broker.queue.declared) == 2


async def test_a_new_connection_is_told_the_types_again(clock: Clock) -> None:
    first, second = FakeBroker(), FakeBroker()
    brokers = [first, second]

    async def connect() -> Any:
        return await brokers.pop(0).connection()

    sending = Sender(connect, clock.retrying())
    await sending.flush([one("t:1")])
    await sending.flush([one("t:2")])
    assert first.queue.declared == second.queue.declared == [("t", "t")]


async def test_a_type_in_another_lane_is_refused_alone(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.lanes["u"] = "old"
    answers = await sender(broker, clock).flush([one("u:1", lane="new"), one("t:1")])
    assert isinstance(answers[0], ConfigError)
    assert "in lane 'new', but has live tasks in lane 'old'" in str(answers[0])
    assert isinstance(answers[1], Accepted)
    assert broker.queue.puts == [["t:1"]]


@pytest.mark.parametrize("fault", [Unavailable, Unknown])
async def test_a_failed_call_is_repeated_with_the_same_ids(clock: Clock, fault: Any) -> None:
    broker = FakeBroker()
    broker.queue.faults = [fault("down"), fault("down"), fault("down")]
    answers = await sender(broker, clock).flush([one("t:1"), one("t:2")])
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert broker.queue.puts == [["t:1", "t:2"]] * 4
    assert clock.slept == [0.05, 0.1, 0.2]


async def test_a_task_is_no_duplicate_of_its_own_earlier_try(clock: Clock) -> None:
    broker = FakeBroker()
    sending = sender(broker, clock)
    broker.queue.faults = [Unknown("the reply was lost")]
    broker.queue.known = {"t:1"}
    assert await sending.flush([one("t:1")]) == [Accepted(Put.NEW)]
    # Without a lost reply it is one.
    assert await sending.flush([one("t:1")]) == [Accepted(Put.DUPLICATE, of="t:1")]


async def test_at_the_deadline_unavailable_is_told(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.faults = [Unavailable("no route") for _ in range(100)]
    (answer,) = await sender(broker, clock).flush([one("t:1")])
    assert isinstance(answer, Unavailable)
    assert str(answer) == "task t:1 was not accepted: no route"
    assert clock.now == pytest.approx(30.0)
    assert max(clock.slept) == 2.0


async def test_one_unknown_try_makes_the_whole_unknown(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.faults = [Unknown("no reply"), *(Unavailable("no route") for _ in range(100))]
    (answer,) = await sender(broker, clock).flush([one("t:1")])
    assert isinstance(answer, Unknown)
    assert "t:1" in str(answer)
    assert "again under this id is safe" in str(answer)


async def test_a_broker_that_never_opened_took_nothing(clock: Clock) -> None:
    async def connect() -> Any:
        raise Unknown("no reply to the greeting")

    submission = one("t:1")
    (answer,) = await Sender(connect, clock.retrying()).flush([submission])
    assert isinstance(answer, Unavailable)
    assert not submission.sent


async def test_each_item_has_its_own_deadline(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.faults = [Unavailable("down") for _ in range(8)]
    answers = await sender(broker, clock).flush([one("t:1", until=1.0), one("t:2", until=30.0)])
    assert isinstance(answers[0], Unavailable)
    assert isinstance(answers[1], Accepted)
    assert broker.queue.puts[0] == ["t:1", "t:2"]
    assert broker.queue.puts[-1] == ["t:2"]


async def test_what_repeating_cannot_help_is_not_repeated(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.faults = [Refused("no rights")]
    with pytest.raises(Refused):
        await sender(broker, clock).flush([one("t:1")])
    assert clock.slept == []


async def test_a_rejected_item_has_its_own_error(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.reject = {"t:1": InvalidTask("bad"), "t:2": None}
    answers = await sender(broker, clock).flush([one("t:1"), one("t:2"), one("t:3")])
    assert [type(answer) for answer in answers] == [InvalidTask, Refused, Accepted]


@pytest.mark.parametrize(
    ("options", "ability"),
    [
        ({"priority": 1}, "PRIORITY"),
        ({"delay": 1.0}, "DELAY"),
        ({"run_at": 0.0}, "DELAY"),
        ({"unique_key": "h"}, "DEDUPE"),
        ({"key": "k"}, "LIMITS"),
    ],
)
async def test_what_the_broker_lacks_is_unsupported(
    clock: Clock, options: dict[str, Any], ability: str
) -> None:
    able, lacking = FakeBroker(), FakeBroker(abilities=ALL_ABILITIES - {ability})
    (answer,) = await sender(able, clock).flush([one(**options)])
    assert isinstance(answer, Accepted)
    (answer,) = await sender(lacking, clock).flush([one(**options)])
    assert isinstance(answer, Unsupported)
    assert f"lacks {ability}, which {next(iter(options))} of t:1 needs" in str(answer)
    assert lacking.queue.puts == []


async def test_what_exceeds_the_brokers_numbers_is_refused(clock: Clock) -> None:
    broker = FakeBroker(max_payload=10, max_delay=5.0)
    answers = await sender(broker, clock).flush(
        [one(payload=b"x" * 11), one(delay=6.0), one("t:2", payload=b"x" * 10, delay=5.0)]
    )
    assert [type(answer) for answer in answers] == [PayloadTooLarge, Unsupported, Accepted]
    assert "11 bytes; at most 10" in str(answers[0])
    assert "6 s; the broker's longest is 5 s" in str(answers[1])
