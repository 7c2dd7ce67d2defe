"""Who gives up a dead worker stands still meanwhile, and others go on: also that worker."""

from __future__ import annotations

import pytest

from support.queues import HEARTBEAT, LEASE, Bench, a_task
from unit.stored_queue.lives import is_alive, outlive, pass_by
from xqueue_core.calls import Hold
from xqueue_core.errors import Unknown
from xqueue_core.stored import layout
from xqueue_core.task import State

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_another_finishes_what_died_while_it_reclaimed(bench: Bench, nth: int) -> None:
    await bench.put(a_task(0), a_task(1, unique_key="hash"))
    await outlive(bench, "a", "b", held=2)
    bench.records.lose_reply(nth)  # marked dead; or what it held was lost; or it was forgotten
    with pytest.raises(Unknown):
        await bench.queue.maintain(1.0)
    await bench.another().maintain(1.0)
    assert not await is_alive(bench, "a")
    for n in range(2):
        record = await bench.record(f"type:{n}")
        assert (record.state, record.losses) == (State.PENDING, 1)


async def test_a_lease_under_way_while_its_worker_is_given_up_strands_nothing(
    bench: Bench,
) -> None:
    """A process stands still between its look and its swap, wakes, and is then killed."""
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "a", "b")

    async def give_up() -> None:
        await pass_by(bench, LEASE + 2, "b")
        assert not await is_alive(bench, "a")

    bench.records.before("swap", give_up)
    await bench.lease("a")
    await pass_by(bench, LEASE + 2, "b")
    assert (await bench.record("type:0")).state is State.PENDING


async def test_a_lease_under_way_while_its_worker_leaves_strands_nothing(bench: Bench) -> None:
    await bench.put(a_task(0))
    await pass_by(bench, 2, "a", "b")

    async def leave() -> None:
        await bench.beat("a", leaving=True)

    bench.records.before("swap", leave)
    await bench.lease("a")
    await pass_by(bench, LEASE + 2, "b")
    record = await bench.record("type:0")
    # It never started: no heartbeat of that worker was acknowledged since.
    assert (record.state, record.attempt, record.losses) == (State.PENDING, 0, 0)


async def test_a_worker_that_comes_back_while_its_orphans_are_found_keeps_what_it_leases(
    bench: Bench,
) -> None:
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "a", "b")

    async def leave() -> None:
        await bench.beat("a", leaving=True)

    bench.records.before("swap", leave)
    await bench.lease("a")
    came_back = []

    async def come_back() -> None:
        [row] = await bench.store.load(["worker/a"])
        known = layout.unpack(row, layout.WorkerRow)
        assert known is not None
        assert known.dead
        await bench.beat("a")
        came_back.extend(await bench.lease("a"))

    bench.records.before("load", come_back, nth=3)  # marked dead, but not given up yet
    await bench.queue.maintain(1.0)
    assert len(came_back) == 1
    assert (await bench.beat("a", *came_back)).held == [Hold.KEPT]


async def test_giving_up_an_old_life_does_not_end_the_new_one(bench: Bench) -> None:
    """A process that reclaims stands still; meanwhile the worker comes back and leases."""
    await bench.put(a_task(0), a_task(1))
    await outlive(bench, "a", "b", held=1)
    came_back = []

    async def come_back() -> None:
        assert (await bench.beat("a")).held == []
        came_back.extend(await bench.lease("a", 2))

    bench.records.before("swap", come_back, nth=3)  # before it forgets the worker
    await bench.queue.maintain(1.0)
    assert len(came_back) == 2
    assert await is_alive(bench, "a")
    assert await bench.lease("a", 2) == []
    assert (await bench.beat("a", *came_back)).held == [Hold.KEPT] * 2


@pytest.mark.parametrize(("method", "nth"), [("scan", 2), ("load", 2)])
async def test_what_a_worker_leases_after_it_came_back_is_not_taken_with_its_old_life(
    bench: Bench, method: str, nth: int
) -> None:
    """A process stands still between it has marked a worker dead and it looks what that holds."""
    await bench.put(a_task(0), a_task(1))
    await outlive(bench, "a", "b", held=1)
    came_back = []

    async def come_back() -> None:
        [row] = await bench.store.load(["worker/a"])
        known = layout.unpack(row, layout.WorkerRow)
        assert known is not None
        assert known.dead
        assert (await bench.beat("a")).held == []
        came_back.extend(await bench.lease("a", 2))

    bench.records.before(method, come_back, nth)
    await bench.queue.maintain(1.0)
    assert len(came_back) == 2
    assert sorted([(await bench.record(f"type:{n}")).losses for n in range(2)]) == [0, 1]
    assert (await bench.beat("a", *came_back)).held == [Hold.KEPT] * 2


async def test_a_second_life_is_not_forgotten_with_the_first_while_it_holds_something(
    bench: Bench,
) -> None:
    """A process stands still behind its look at what a dead worker holds. That comes back, works,
    is killed, and is marked dead again, by a process that is killed just then."""
    await bench.put(a_task(0), a_task(1))
    await outlive(bench, "a", "b", held=1)

    async def is_killed() -> None:
        raise Unknown("killed")

    async def second_life() -> None:
        await bench.another().maintain(1.0)
        assert (await bench.beat("a")).held == []
        held = await bench.lease("a", 2)
        assert len(held) == 2
        bench.later(1.0)
        await bench.beat("a", *held)
        await bench.beat("b")
        for _ in range(int(LEASE)):
            bench.later(1.0)
            await bench.beat("b")
        bench.records.before("scan", is_killed, nth=2)
        with pytest.raises(Unknown):
            await bench.another().maintain(1.0)
        [row] = await bench.store.load(["worker/a"])
        known = layout.unpack(row, layout.WorkerRow)
        assert known is not None
        assert known.dead

    bench.records.before("load", second_life, nth=3)  # the second look at it
    await bench.queue.maintain(1.0)
    await bench.beat("b")
    await bench.another().maintain(1.0)
    records = [await bench.record(f"type:{n}") for n in range(2)]
    assert [one.state for one in records] == [State.PENDING] * 2
    assert sorted(one.losses for one in records) == [1, 2]


async def test_a_heartbeat_that_stood_still_does_not_set_the_mark_back(bench: Bench) -> None:
    """By an earlier mark nobody would have renewed for long, and everybody gets a whole lease."""
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "dies", "slow", "lives")
    assert len(await bench.lease("dies")) == 1

    async def stand_still() -> None:
        await pass_by(bench, 3 * HEARTBEAT, "lives")

    bench.records.before("swap", stand_still)
    bench.later(HEARTBEAT)
    await bench.beat("slow", answered=0)
    await pass_by(bench, LEASE - 2 * HEARTBEAT, "slow", "lives")
    assert not await is_alive(bench, "dies")
    assert (await bench.record("type:0")).losses == 1
