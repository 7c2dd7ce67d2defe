"""Sending: repeated under the same id until the deadline, each item's fate its own."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from support.client_fakes import Clock, FakeBroker
from xqueue_core.calls import (
    ALL_ABILITIES,
    Accepted,
    Put,
)
from xqueue_core.client.sending import Sender, Submission, Turns
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


class Headers(dict[str, str]):
    """Headers that can be looked for."""


async def test_what_was_given_up_in_an_outage_is_not_kept(clock: Clock) -> None:
    broker, headers = FakeBroker(), Headers()
    sending, kept = sender(broker, clock), weakref.ref(headers)
    broker.queue.faults = [Unavailable("away") for _ in range(1000)]
    [answer] = await sending.flush([one(headers=headers)])
    assert isinstance(answer, Unavailable)
    del headers, answer
    gc.collect()
    assert kept() is None


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
    assert "again under this id is safe for the broker's dedupe_horizon after its end" in str(
        answer
    )


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
    broker.queue.faults = [Refused("read only")]
    [answer] = await sender(broker, clock).flush([one()])
    assert isinstance(answer, Refused)
    assert len(broker.queue.puts) == 1


@pytest.mark.parametrize("last", [Refused("read only"), ConfigError("no such file"), KeyError("x")])
async def test_what_may_have_been_accepted_before_is_unknown_whatever_comes(
    clock: Clock, last: Exception
) -> None:
    broker = FakeBroker()
    broker.queue.faults = [Unknown("no reply"), last]
    [answer] = await sender(broker, clock).flush([one()])
    assert isinstance(answer, Unknown)
    assert str(last) in str(answer)


async def test_what_was_accepted_stays_so_when_the_rest_is_refused(clock: Clock) -> None:
    broker = FakeBroker()
    put, calls = broker.queue.put, 0

    async def first_unknown(tasks: Sequence[Task]) -> Sequence[Accepted]:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise Refused("the password was changed")
        return [*(await put(tasks))[:-1], Accepted(Put.UNKNOWN)]

    broker.queue.put = first_unknown  # type: ignore[method-assign]
    answers = await sender(broker, clock).flush([one("t:1"), one("t:2"), one("t:3")])
    assert [type(answer) for answer in answers] == [Accepted, Accepted, Unknown]


async def test_a_conflict_that_is_found_later_hides_no_doubt(clock: Clock) -> None:
    first, second = FakeBroker(), FakeBroker()
    first.queue.faults = [Unknown("no reply")]
    second.queue.lanes["t"] = "other"
    brokers = [first, second]

    async def connect() -> Any:
        return await brokers.pop(0).connection()

    [answer] = await Sender(connect, clock.retrying()).flush([one()])
    assert isinstance(answer, Unknown)
    assert "has live tasks in lane 'other'" in str(answer)


async def test_a_rejected_item_has_its_own_error(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.reject = {"t:1": InvalidTask("bad"), "t:2": None}
    answers = await sender(broker, clock).flush([one("t:1"), one("t:2"), one("t:3")])
    assert [type(answer) for answer in answers] == [InvalidTask, Refused, Accepted]


async def test_a_rejected_item_that_may_have_been_accepted_before_is_unknown(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.faults = [Unknown("no reply")]
    broker.queue.reject = {"t:1": InvalidTask("bad")}
    answers = await sender(broker, clock).flush([one("t:1"), one("t:2")])
    assert isinstance(answers[0], Unknown)
    assert isinstance(answers[0].__cause__, InvalidTask)
    assert answers[1] == Accepted(Put.NEW)


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


@pytest.mark.parametrize(("ttl", "told"), [(86400.0, "86400 s"), (0.0, "60 s")])
async def test_a_generated_id_is_said_to_be_known_as_long_as_its_record(
    clock: Clock, ttl: float, told: str
) -> None:
    broker = FakeBroker()
    broker.queue.faults = [Unknown("no reply"), *(Unavailable("no route") for _ in range(100))]
    (answer,) = await sender(broker, clock).flush([one("t:1", remember=False, result_ttl=ttl)])
    assert str(answer).endswith(f"again under this id is safe for {told} after its end")


# -- lists: the time of each begins at its turn ----------------------------------------------------


def many(ids: range) -> list[Submission]:
    turns = Turns()
    return [Submission(Task(id=f"t:{n}", lane="t"), turns=turns) for n in ids]


class Slow(FakeBroker):
    """Each put takes this long by the clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds, put = clock, seconds, self.queue.put

        async def slow(tasks: Sequence[Task]) -> Sequence[Accepted]:
            self._clock.now += self._seconds
            return await put(tasks)

        self.queue.put = slow  # type: ignore[method-assign]


async def test_the_time_of_a_lists_items_begins_at_their_turn(clock: Clock) -> None:
    sending = sender(Slow(clock, 20.0), clock)
    items = many(range(10))
    for n in range(0, 10, 2):  # 100 s in all
        answers = await sending.flush(items[n : n + 2])
        assert answers == [Accepted(Put.NEW)] * 2
    assert clock.now == 100.0


async def test_a_list_waits_for_a_broker_that_is_away_once(clock: Clock) -> None:
    broker = FakeBroker()
    broker.queue.faults = [Unavailable("down") for _ in range(1000)]
    sending = sender(broker, clock)
    items = many(range(10))
    for n in range(0, 10, 2):
        answers = await sending.flush(items[n : n + 2])
        assert [str(answer) for answer in answers] == [
            f"task t:{one} was not accepted: down" for one in (n, n + 1)
        ]
    assert clock.now == pytest.approx(30.0)
    # Another list has its own time, and may find that all is well.
    broker.queue.faults = [Unavailable("down")]
    assert await sending.flush(many(range(10, 12))) == [Accepted(Put.NEW)] * 2


async def test_no_put_is_begun_for_one_whose_time_is_up(clock: Clock) -> None:
    broker, clock.now = FakeBroker(), 40.0
    late, good = one("t:1", until=30.0), one("t:2", until=70.0)
    answers = await sender(broker, clock).flush([late, good])
    assert isinstance(answers[0], Unavailable)
    assert answers[1] == Accepted(Put.NEW)
    assert broker.queue.puts == [["t:2"]]
    assert not late.sent


async def test_a_put_that_the_broker_cannot_judge_is_repeated(clock: Clock) -> None:
    broker = FakeBroker()
    accepted = broker.queue._accepted
    first = [Accepted(Put.UNKNOWN)]
    broker.queue._accepted = lambda id: (  # type: ignore[method-assign]
        first.pop() if id == "t:2" and first else accepted(id)
    )
    answers = await sender(broker, clock).flush([one("t:1"), one("t:2")])
    assert answers == [Accepted(Put.NEW)] * 2
    assert broker.queue.puts == [["t:1", "t:2"], ["t:2"]]
