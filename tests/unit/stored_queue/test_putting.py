"""Races, lost replies and bad tasks while tasks are put."""

from __future__ import annotations

import math
from typing import Any

import pytest

from support.queues import Bench, a_task
from xqueue_core.calls import (
    Cancel,
    Capabilities,
    Declare,
    Did,
    Edit,
    Locate,
    Pause,
    Purge,
    Put,
    Replay,
    Reschedule,
)
from xqueue_core.errors import BrokerError, InvalidTask, Refused, Unavailable, Unknown
from xqueue_core.stored import layout
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.task import Failed, Failure, Slot, State, Success

pytestmark = pytest.mark.anyio

UNIQUE: dict[str, Any] = {"unique_key": "hash"}


async def test_two_putters_of_one_unique_key_make_one_task(bench: Bench) -> None:
    async def other() -> None:
        assert await bench.put(a_task("b", **UNIQUE)) == [Put.NEW]

    bench.records.before("swap", other)
    [answer] = await bench.queue.put([a_task("a", **UNIQUE)])
    bench.ids.add("type:a")
    assert (answer.put, answer.of) == (Put.DUPLICATE, "type:b")


async def test_one_call_with_one_unique_key_twice_makes_one_task(bench: Bench) -> None:
    tasks = [a_task("a", **UNIQUE), a_task("b", **UNIQUE), a_task("a")]
    assert await bench.put(*tasks) == [Put.NEW, Put.DUPLICATE, Put.DUPLICATE]


async def test_a_unique_key_is_free_again_once_its_task_ends(bench: Bench) -> None:
    await bench.put(a_task("a", **UNIQUE))
    await bench.beat("worker")
    [delivery] = await bench.lease("worker")
    await bench.settle(delivery)
    assert await bench.put(a_task("b", **UNIQUE)) == [Put.NEW]
    [replayed] = await bench.queue.control([Replay("type:a", "request")])
    assert (replayed.did, replayed.of) == (Did.DUPLICATE, "type:b")


async def test_a_put_while_the_last_trace_of_its_id_goes_is_new(bench: Bench) -> None:
    await bench.put(a_task("a", result_ttl=0.0))
    await bench.queue.control([Cancel("type:a")])
    await bench.queue.maintain(1.0)
    assert isinstance(await bench.body("type:a"), layout.Tombstone)
    assert await bench.put(a_task("a")) == [Put.DUPLICATE]
    bench.later(100_000.0)

    async def maintain() -> None:
        await bench.queue.maintain(1.0)

    bench.records.before("load", maintain, nth=1)  # after the insert found the tombstone
    assert await bench.put(a_task("a")) == [Put.NEW]
    assert (await bench.record("type:a")).state is State.PENDING


async def test_a_tombstone_keeps_its_id_and_its_tokens(bench: Bench) -> None:
    await bench.put(a_task("a"))
    await bench.beat("worker")
    [delivery] = await bench.lease("worker")
    await bench.settle(delivery)
    await bench.queue.control([Purge("type:a")])
    assert await bench.settle(delivery) == "repeated"
    assert await bench.put(a_task("a")) == [Put.DUPLICATE]
    [again] = await bench.queue.control([Cancel("type:a")])
    assert again.did is Did.UNKNOWN


@pytest.mark.parametrize("changes", [{}, UNIQUE, {"slot": Slot("s", 1, 5.0)}], ids=str)
async def test_a_put_whose_reply_was_lost_is_repeated_safely(
    bench: Bench, changes: dict[str, Any]
) -> None:
    bench.records.lose_reply()
    with pytest.raises(Unknown):
        await bench.put(a_task("a", **changes))
    assert await bench.put(a_task("a", **changes)) == [Put.DUPLICATE]
    [answer] = await bench.queue.put([a_task("a", **changes)])
    assert answer.of == "type:a"


@pytest.mark.parametrize("error", [Unavailable, Refused])
async def test_a_put_that_changed_something_never_says_that_nothing_happened(
    bench: Bench, error: type[BrokerError]
) -> None:
    await bench.put(a_task("a"))
    # Asked after the insert, about the id that was taken.
    bench.records.refuse("load", error=error)
    with pytest.raises(Unknown):
        await bench.put(a_task("b"), a_task("a"))
    assert await bench.put(a_task("b")) == [Put.DUPLICATE]


@pytest.mark.parametrize("error", [Unavailable, Refused])
async def test_a_put_that_changed_nothing_says_so(bench: Bench, error: type[BrokerError]) -> None:
    bench.records.refuse("swap", error=error)
    with pytest.raises(error):
        await bench.put(a_task("a"))
    assert await bench.put(a_task("a")) == [Put.NEW]


@pytest.mark.parametrize("error", [Unavailable, Refused])
async def test_commands_of_which_one_was_carried_out_never_say_that_nothing_happened(
    bench: Bench, error: type[BrokerError]
) -> None:
    await bench.put(a_task("a"))
    bench.records.refuse("swap", 2, error)
    with pytest.raises(Unknown, match="a part of it was carried out"):
        await bench.queue.control([Pause("type"), Cancel("type:a")])
    # A question changes nothing.
    bench.records.refuse("swap", error=error)
    with pytest.raises(error):
        await bench.queue.control([Locate("type"), Cancel("type:a")])


async def test_a_slot_fires_once(bench: Bench) -> None:
    def slot(n: int, version: int, at: float) -> Any:
        return a_task(n, slot=Slot("daily", version, at))

    assert await bench.put(slot(1, 1, 10.0)) == [Put.NEW]
    assert await bench.put(slot(2, 1, 10.0)) == [Put.DUPLICATE]
    assert await bench.put(slot(3, 1, 9.0)) == [Put.DUPLICATE]
    assert await bench.put(slot(4, 2, 11.0), slot(5, 2, 12.0)) == [Put.NEW, Put.NEW]
    assert await bench.put(slot(6, 1, 99.0)) == [Put.DUPLICATE]
    assert await bench.put(slot(1, 1, 10.0)) == [Put.DUPLICATE]


async def test_two_schedulers_fire_a_slot_once(bench: Bench) -> None:
    async def other() -> None:
        await bench.put(a_task("b", slot=Slot("daily", 1, 10.0)))

    bench.records.before("swap", other)
    assert await bench.put(a_task("a", slot=Slot("daily", 1, 10.0))) == [Put.DUPLICATE]
    assert await bench.body("type:a") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"priority": True},
        {"priority": 5.5},
        {"max_retry": 2.5},
        {"priority": 10},
        {"priority": -1},
        {"delay": math.inf},
        {"delay": math.nan},
        {"run_at": math.inf},
        {"delay": 1e18},
        {"key": "k", "key_limit": 0},
        {"max_retry": -1},
        {"max_retry": 2**70},
        {"process_timeout": -1.0},
        {"queue_timeout": math.nan},
        {"priority": None},
        {"headers": {"x": "caf\udce9"}},
        {"key": "caf\udce9", "key_limit": 1},
        {"unique_key": "caf\udce9"},
        {"lane": "caf\udce9"},
    ],
    ids=ascii,
)
async def test_a_bad_task_is_rejected_and_the_others_are_accepted(
    bench: Bench, changes: dict[str, Any]
) -> None:
    bad, good = await bench.queue.put([a_task("bad", **changes), a_task("good")])
    bench.ids |= {"type:bad", "type:good"}
    assert bad.put is Put.REJECTED
    assert isinstance(bad.error, InvalidTask)
    assert good.put is Put.NEW
    assert await bench.body("type:bad") is None


@pytest.mark.parametrize("delay", [math.inf, math.nan, 1e18, -1e18])
async def test_a_time_beyond_all_bounds_harms_nobody(bench: Bench, delay: float) -> None:
    await bench.put(a_task("a"), a_task("b"))
    verdicts = await bench.queue.control([Reschedule("type:a", delay=delay), Cancel("type:b")])
    refused = Did.APPLIED if delay < 0 else Did.INVALID
    assert [one.did for one in verdicts] == [refused, Did.APPLIED]
    assert (await bench.record("type:a")).state is State.PENDING


@pytest.mark.parametrize("most", [10, 2_000_000])
async def test_a_replay_is_judged_by_the_numbers_of_its_own_backend(
    bench: Bench, most: int
) -> None:
    claims = Capabilities(max_payload=most, max_delay=5.0)
    queue = StoredQueue(bench.records, LocalBell(), capabilities=claims)
    await bench.put(a_task("a"))
    await queue.control([Cancel("type:a")])
    verdicts = await queue.control(
        [
            Replay("type:a", "big", Edit(payload=b"x" * (most + 1))),
            Replay("type:a", "late", delay=5.1),
            Replay("type:a", "fits", Edit(payload=b"x" * most), delay=4.9),
            Reschedule("type:a", delay=5.1),
        ]
    )
    expected = [Did.INVALID, Did.INVALID, Did.APPLIED, Did.INVALID]
    assert [one.did for one in verdicts] == expected
    assert f"more than the {most} allowed" in verdicts[0].reason
    assert "beyond 5.0 s" in verdicts[1].reason


@pytest.mark.parametrize(
    ("edit", "delay"),
    [
        (Edit(priority=99), 0.0),
        (Edit(priority=-7), 0.0),
        (Edit(max_retry=-1), 0.0),
        (Edit(max_retry=2**70), 0.0),
        (Edit(process_timeout=-1.0), 0.0),
        (Edit(process_timeout=math.nan), 0.0),
        (Edit(payload=b"x" * 2_000_000), 0.0),
        (None, math.nan),
        (None, math.inf),
        (Edit(priority=1), 1e18),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_a_replay_that_no_put_would_pass_changes_nothing(
    bench: Bench, edit: Edit | None, delay: float
) -> None:
    await bench.put(a_task("a"), a_task("b"))
    await bench.queue.control([Cancel("type:a"), Cancel("type:b")])
    before = await bench.record("type:a")
    verdicts = await bench.queue.control(
        [Replay("type:a", "r", edit, delay), Replay("type:b", "r", Edit(priority=9))]
    )
    assert [one.did for one in verdicts] == [Did.INVALID, Did.APPLIED]
    assert "type:a" in verdicts[0].reason
    assert await bench.record("type:a") == before


async def test_a_reason_that_cannot_be_stored_harms_nobody(bench: Bench) -> None:
    await bench.put(a_task("a"), a_task("b"))
    verdicts = await bench.queue.control([Cancel("type:a", "caf\udce9"), Cancel("type:b")])
    assert [one.did for one in verdicts] == [Did.APPLIED] * 2
    assert (await bench.record("type:a")).reason == r"caf\udce9"


async def test_another_lane_for_a_type_with_live_tasks_is_a_conflict(bench: Bench) -> None:
    assert await _declare(bench, "type") == (Did.APPLIED, "")
    await bench.put(a_task("a"))
    assert await _declare(bench, "type") == (Did.APPLIED, "")
    assert await _declare(bench, "other") == (Did.CONFLICT, "type")
    await bench.queue.control([Cancel("type:a")])
    assert await _declare(bench, "other") == (Did.APPLIED, "")


async def test_two_who_declare_at_once_agree(bench: Bench) -> None:
    async def other() -> None:
        assert await _declare(bench, "first") == (Did.APPLIED, "")
        await bench.put(a_task("a", lane="first"))

    bench.records.before("swap", other)
    assert await _declare(bench, "second") == (Did.CONFLICT, "first")


async def _declare(bench: Bench, lane: str) -> tuple[Did, str]:
    [verdict] = await bench.queue.control([Declare("type", lane)])
    return verdict.did, verdict.of


async def test_a_replayed_task_may_fail_and_be_replayed_again(bench: Bench) -> None:
    await bench.put(a_task("a", **UNIQUE))
    await bench.beat("worker")
    for n in range(3):
        [delivery] = await bench.lease("worker")
        await bench.settle(delivery, Failed(Failure("rejected")) if n < 2 else Success())
        await bench.audit()
        if n < 2:
            bench.records.lose_reply()
            with pytest.raises(Unknown):
                await bench.queue.control([Replay("type:a", f"request {n}")])
            [again] = await bench.queue.control([Replay("type:a", f"request {n}")])
            assert again.did is Did.REPEATED
    assert (await bench.record("type:a")).replays == 2
