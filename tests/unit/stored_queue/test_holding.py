"""Heartbeats, reclaiming from the dead, and outages (P1.2, P1.4)."""

from __future__ import annotations

import pytest

from support.queues import HEARTBEAT, LEASE, Bench, a_task
from unit.stored_queue.lives import is_alive, pass_by
from xqueue_core.calls import Did, Hold, Order, Settled
from xqueue_core.errors import LeaseLost, Unavailable, Unknown
from xqueue_core.task import State

pytestmark = pytest.mark.anyio

TOLD = "worker {} has not been heard of for its lease (15 s): {} taken back"


async def test_what_a_dead_worker_held_is_taken_from_it(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    await pass_by(bench, LEASE + 2, "a", "b")
    await bench.lease("a", 2)
    await pass_by(bench, LEASE - 2, "b")
    assert (await bench.record("type:0")).state is State.PROCESSING
    await pass_by(bench, 4, "b")
    assert not await is_alive(bench, "a")
    for n in range(2):
        record = await bench.record(f"type:{n}")
        assert (record.state, record.attempt, record.losses) == (State.PENDING, 0, 1)
    with pytest.raises(LeaseLost):
        await bench.lease("a")


async def test_who_is_given_up_is_told_once_with_what_it_held(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.put(a_task(0), a_task(1))
    await pass_by(bench, LEASE + 2, "a", "b", "idle")
    await bench.lease("a", 2)
    await pass_by(bench, LEASE + 2, "b")
    assert sorted((one.name, one.levelname, one.getMessage()) for one in caplog.records) == [
        ("xqueue.stored", "WARNING", TOLD.format("a", "2 deliveries are")),
        ("xqueue.stored", "WARNING", TOLD.format("idle", "0 deliveries are")),
    ]
    caplog.clear()
    await pass_by(bench, LEASE + 2, "b")
    assert not caplog.records


async def test_who_leaves_is_not_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "a", "b")
    await bench.lease("a")
    await bench.beat("a", leaving=True)
    await pass_by(bench, LEASE + 2, "b")
    assert not caplog.records


async def test_an_outage_of_twice_the_lease_reclaims_no_living_worker(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    await pass_by(bench, LEASE + 2, "a", "b")
    [mine], [yours] = await bench.lease("a"), await bench.lease("b")
    bench.later(2 * LEASE)
    # a is the first to reach the store, and looks for the dead before b could say a word.
    assert (await bench.beat("a", mine)).held == [Hold.KEPT]
    await bench.queue.maintain(1.0)
    bench.later(LEASE - 0.1)
    await bench.beat("a", mine)
    await bench.queue.maintain(1.0)
    assert (await bench.beat("b", yours)).held == [Hold.KEPT]
    await pass_by(bench, LEASE, "a", "b")
    assert (await bench.record("type:1")).losses == 0


async def test_who_does_not_come_back_is_looked_for_as_soon_as_it_may_be_judged(
    bench: Bench,
) -> None:
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "a", "b")
    await bench.lease("a")
    bench.later(2 * LEASE)
    await bench.beat("b")
    wanted = 0.0
    for _ in range(int(LEASE / HEARTBEAT)):
        bench.later(HEARTBEAT - 0.25)
        await bench.beat("b")
        wanted = await bench.queue.maintain(1.0)
        bench.later(0.25)
        await bench.beat("b")
    assert wanted == pytest.approx(0.25)
    await bench.queue.maintain(1.0)
    assert not await is_alive(bench, "a")


async def test_maintaining_before_the_first_heartbeat_reclaims_nobody(bench: Bench) -> None:
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "a", "b")
    [mine] = await bench.lease("a")
    bench.later(2 * LEASE)
    for _ in range(3):
        await bench.another().maintain(1.0)
    assert (await bench.beat("a", mine)).held == [Hold.KEPT]


async def test_another_boot_gives_everybody_a_whole_lease(bench: Bench) -> None:
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "a", "b")
    [mine] = await bench.lease("a")
    bench.clock.epoch, bench.clock.steady = "another", 3.0
    await bench.beat("b")
    await pass_by(bench, LEASE - 2, "b")
    assert (await bench.beat("a", mine)).held == [Hold.KEPT]
    await pass_by(bench, LEASE + 2, "b")
    assert (await bench.record("type:0")).losses == 1


async def test_the_beats_of_a_slow_worker_hide_no_outage(bench: Bench) -> None:
    """a and b beat often, slow beats seldom: an outage short for it is a long one for them."""
    await bench.put(a_task(0))
    for n in range(80):
        bench.later(HEARTBEAT)
        await bench.beat("a", lease=5.0)
        await bench.beat("b", lease=5.0)
        if n % 12 == 0:
            await bench.beat("slow", lease=60.0, heartbeat=12.0)
        await bench.queue.maintain(1.0)
    [mine] = await bench.lease("a")
    bench.later(2 * 5.0)
    await bench.beat("b", lease=5.0)
    await bench.queue.maintain(1.0)
    assert (await bench.beat("a", mine, lease=5.0)).held == [Hold.KEPT]


async def test_a_worker_marked_dead_while_it_beats_loses_all_and_begins_anew(
    bench: Bench,
) -> None:
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "a", "b")
    [mine] = await bench.lease("a")
    await pass_by(bench, LEASE - 1, "b")

    async def reclaim() -> None:
        bench.later(2.0)
        await bench.beat("b")
        await bench.another().maintain(1.0)

    bench.records.before("swap", reclaim)  # between the look and the renewal
    assert (await bench.beat("a", mine)).held == [Hold.LOST]
    assert await bench.settle(mine) is Settled.LOST
    assert (await bench.record("type:0")).losses == 1
    [again] = await bench.lease("a")
    assert again.token > mine.token


async def test_a_worker_that_beats_just_before_it_would_be_marked_lives(bench: Bench) -> None:
    await bench.put(a_task(0))
    await pass_by(bench, LEASE + 2, "a", "b")
    [mine] = await bench.lease("a")
    await pass_by(bench, LEASE - 1, "b")
    bench.later(2.0)
    await bench.beat("b")

    async def beat() -> None:
        assert (await bench.beat("a", mine)).held == [Hold.KEPT]

    bench.records.before("swap", beat)
    await bench.queue.maintain(1.0)
    assert (await bench.record("type:0")).losses == 0
    assert await bench.settle(mine) is Settled.APPLIED


async def test_a_heartbeat_whose_reply_was_lost_is_repeated(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    await bench.beat("a")
    [mine] = await bench.lease("a")
    await bench.lease("a")
    for nth in (1, 2):
        bench.records.lose_reply(nth)
        with pytest.raises(Unknown):
            await bench.beat("a", mine)
        assert (await bench.beat("a", mine)).held == [Hold.KEPT]
        if nth == 1:
            await bench.lease("a")
    assert (await bench.record("type:1")).attempt == 0


@pytest.mark.parametrize(
    ("method", "nth", "leaving"),
    [
        ("swap", 2, False),  # of what is handed back
        ("load", 2, False),  # of the lanes: what is handed back was read before
        ("swap", 2, True),  # of the worker's row
    ],
)
async def test_a_heartbeat_that_fails_when_it_was_recorded_does_not_say_that_nothing_happened(
    bench: Bench, method: str, nth: int, leaving: bool
) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    await bench.lease("a")
    bench.records.refuse(method)
    with pytest.raises(Unavailable):
        await bench.beat("a", lanes=["type"], leaving=leaving)
    bench.records.refuse(method, nth)
    with pytest.raises(Unknown):
        await bench.beat("a", lanes=["type"], leaving=leaving)
    await bench.beat("a", lanes=["type"], leaving=leaving)
    record = await bench.record("type:0")
    assert (record.state, record.attempt, record.losses) == (State.PENDING, 0, 0)
    assert [one.how for one in record.history] == ["handback"]


async def test_a_worker_that_leaves_hands_back_what_is_left(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [mine] = await bench.lease("a")
    assert (await bench.beat("a", mine, leaving=True)).held == [Hold.LOST]
    record = await bench.record("type:0")
    assert (record.state, record.attempt, record.losses) == (State.PENDING, 0, 0)
    assert not await is_alive(bench, "a")


async def test_the_third_worker_that_dies_with_a_task_ends_it(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    for n in range(3):
        await pass_by(bench, 2, f"w{n}", "b")
        deliveries = await bench.lease(f"w{n}", 2)
        assert [one.losses for one in deliveries] == ([n, n] if n == 0 else [n])
        if n == 0:
            await bench.settle(deliveries[1])
        await pass_by(bench, 2 * LEASE + 2, "b")
    record = await bench.record("type:0")
    assert (record.state, record.reason, record.losses) == (State.FAILED, "worker_lost", 3)


async def test_orders_reach_a_worker_until_it_is_gone(bench: Bench) -> None:
    [unknown] = await bench.queue.control([Order("a", quiet=True)])
    assert unknown.did is Did.UNKNOWN
    await bench.beat("a")

    async def other() -> None:
        await bench.queue.control([Order("a", quiet=True)])

    bench.records.before("swap", other)
    await bench.queue.control([Order("a", quiet=True, stop=True)])
    reply = await bench.beat("a")
    assert (reply.quiet, reply.stop) == (True, True)
    await bench.beat("a", leaving=True)
    reply = await bench.beat("a")
    assert (reply.quiet, reply.stop) == (False, False)
