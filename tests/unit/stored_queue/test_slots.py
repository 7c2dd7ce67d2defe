"""Slots of recurring schedules among races and lost replies."""

from __future__ import annotations

from typing import Any

import pytest

from support.queues import Bench, a_task
from xqueue_core.calls import Announce, Cancel, Did, Put, Verdict
from xqueue_core.errors import Unknown
from xqueue_core.recurring.standing import Standing
from xqueue_core.stored import layout
from xqueue_core.task import Slot, Task

pytestmark = pytest.mark.anyio


def slot_task(n: int | str, at: float, version: int = 1, **changes: Any) -> Task:
    """A task for a slot of the one schedule here."""
    return a_task(n, slot=Slot("daily", version, at), **changes)


def skipping(n: int | str, at: float) -> Task:
    """The same, which gives way to an earlier one that is still live."""
    return slot_task(n, at, unique_key="hash")


async def announce(bench: Bench, rule: str = "rule", **changes: Any) -> Verdict:
    [verdict] = await bench.queue.control([Announce("daily", rule, **changes)])
    return verdict


async def standing(bench: Bench) -> Standing:
    [row] = await bench.store.load(["schedule/daily"])
    found = layout.unpack(row, Standing)
    assert found is not None
    return found


async def test_many_slots_in_one_call_need_one_round(bench: Bench) -> None:
    await announce(bench)
    swaps, at = bench.records.swaps, bench.clock.wall
    answers = await bench.put(*(slot_task(n, at + n) for n in range(1, 101)))
    assert answers == [Put.NEW] * 100
    assert bench.records.swaps == swaps + 1
    assert (await standing(bench)).last == at + 100


async def test_many_slots_of_a_schedule_that_nobody_announced(bench: Bench) -> None:
    answers = await bench.put(*(slot_task(n, float(n)) for n in (1, 2, 3, 3, 2)))
    assert answers == [Put.NEW] * 3 + [Put.DUPLICATE] * 2


async def test_a_slot_that_gives_way_is_consumed(bench: Bench) -> None:
    await announce(bench)
    at = bench.clock.wall
    assert await bench.put(skipping("a", at + 1)) == [Put.NEW]
    [second] = await bench.queue.put([skipping("b", at + 2)])
    assert (second.put, second.of) == (Put.DUPLICATE, "type:a")
    assert (await standing(bench)).last == at + 2
    await bench.queue.control([Cancel("type:a")])
    assert await bench.put(skipping("c", at + 2)) == [Put.DUPLICATE]
    assert await bench.put(skipping("d", at + 3)) == [Put.NEW]


async def test_one_call_with_several_slots_that_give_way(bench: Bench) -> None:
    await announce(bench)
    at = bench.clock.wall
    answers = await bench.queue.put([skipping(n, at + n) for n in (1, 2, 3)])
    bench.ids.add("type:1")
    assert [one.put for one in answers] == [Put.NEW, Put.DUPLICATE, Put.DUPLICATE]
    assert {one.of for one in answers[1:]} == {"type:1"}
    assert (await standing(bench)).last == at + 3


async def test_two_schedulers_whose_slot_gives_way(bench: Bench) -> None:
    """The run before ends between the two: the slot stays consumed, and nothing fires."""
    await announce(bench)
    at = bench.clock.wall
    assert await bench.put(skipping("a", at + 1)) == [Put.NEW]

    async def other() -> None:
        assert await bench.put(skipping("b", at + 2)) == [Put.DUPLICATE]
        await bench.queue.control([Cancel("type:a")])

    bench.records.before("swap", other)
    assert await bench.put(skipping("c", at + 2)) == [Put.DUPLICATE]
    assert await bench.body("type:c") is None


async def test_a_slot_whose_run_before_ends_meanwhile_is_consumed_once(bench: Bench) -> None:
    await announce(bench)
    at = bench.clock.wall
    assert await bench.put(skipping("a", at + 1)) == [Put.NEW]

    async def end() -> None:
        await bench.queue.control([Cancel("type:a")])

    bench.records.before("swap", end)
    assert await bench.put(skipping("b", at + 2)) == [Put.DUPLICATE]
    assert await bench.put(skipping("c", at + 2)) == [Put.DUPLICATE]


async def test_a_consumed_slot_whose_reply_was_lost_stays_consumed(bench: Bench) -> None:
    await announce(bench)
    at = bench.clock.wall
    assert await bench.put(skipping("a", at + 1)) == [Put.NEW]
    bench.records.lose_reply()
    with pytest.raises(Unknown):
        await bench.put(skipping("b", at + 2))
    await bench.queue.control([Cancel("type:a")])
    assert await bench.put(skipping("b", at + 2)) == [Put.DUPLICATE]
    assert await bench.body("type:b") is None


async def test_a_put_that_consumed_a_slot_never_says_that_nothing_happened(bench: Bench) -> None:
    await announce(bench)
    at = bench.clock.wall
    assert await bench.put(skipping("a", at + 1)) == [Put.NEW]
    bench.records.refuse("swap", nth=2)  # the duplicate is not counted
    with pytest.raises(Unknown):
        await bench.put(skipping("b", at + 2))
    assert (await standing(bench)).last == at + 2


async def test_two_that_announce_at_once_make_one_schedule(bench: Bench) -> None:
    async def other() -> None:
        assert (await announce(bench)).count == 1

    bench.records.before("swap", other)
    verdict = await announce(bench)
    assert (verdict.did, verdict.count, verdict.at) == (Did.APPLIED, 1, bench.clock.wall)


async def test_an_announcement_that_says_nothing_new_writes_nothing(bench: Bench) -> None:
    await announce(bench)
    swaps = bench.records.swaps
    for _ in range(5):
        await announce(bench)
        bench.later(0.9)
    assert bench.records.swaps == swaps
    bench.later(5)
    await announce(bench)
    assert bench.records.swaps == swaps + 1


async def test_a_damaged_row_begins_anew(bench: Bench) -> None:
    await announce(bench)
    await bench.damage("schedule/daily")
    assert (await announce(bench)).count == 1
