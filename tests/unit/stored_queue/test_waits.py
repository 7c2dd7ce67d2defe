"""A worker that dies while a delivery waited in it (P1.1)."""

from __future__ import annotations

import pytest

from support.queues import HEARTBEAT, LEASE, Bench, a_task
from xqueue_core.calls import Beat, BeatReply, Cancel, Delivery, Held, Hold, Settled
from xqueue_core.errors import Unknown
from xqueue_core.outcomes import WAITED
from xqueue_core.stored import layout
from xqueue_core.stored.records import Row
from xqueue_core.task import EventName, State

pytestmark = pytest.mark.anyio


async def says(bench: Bench, worker: str, delivery: Delivery, waits: bool) -> BeatReply:
    """One heartbeat about this delivery alone."""
    beat = Beat(worker=worker, lease=LEASE, heartbeat=HEARTBEAT, answered=1)
    return await bench.queue.extend(beat, [Held(delivery.task.id, delivery.token, waits)])


async def dies(bench: Bench) -> None:
    """Time in which only "other" beats, until all others are given up."""
    for _ in range(int(LEASE / HEARTBEAT) + 2):
        bench.later(HEARTBEAT)
        await bench.beat("other", answered=0)
        await bench.queue.maintain(1.0)


async def lease(bench: Bench, worker: str = "a") -> Delivery:
    """One delivery to a worker that lives, where others do for long."""
    await bench.beat("other")
    await bench.beat(worker)
    await dies_not(bench, worker)
    [got] = await bench.lease(worker, call=1)
    return got


async def dies_not(bench: Bench, worker: str) -> None:
    """Time in which both beat, so that the outage before the first contact is over."""
    for _ in range(int(LEASE / HEARTBEAT) + 2):
        bench.later(HEARTBEAT)
        await bench.beat("other", answered=0)
        await bench.beat(worker, answered=0)


async def test_what_waited_in_a_dead_worker_is_handed_back_uncharged(bench: Bench) -> None:
    await bench.put(a_task(0, max_retry=0), a_task(1))
    got = await lease(bench)
    assert (await says(bench, "a", got, True)).held == [Hold.KEPT]
    await dies(bench)
    record = await bench.record("type:0")
    assert (record.state, record.attempt, record.losses) == (State.PENDING, 0, 0)
    assert (record.history[-1].how, record.history[-1].reason) == ("handback", WAITED)
    last = (await bench.events())[-1]
    assert (last.id, last.name, last.reason) == ("type:0", EventName.HANDED_BACK, WAITED)
    [again] = await bench.lease("other")
    assert (again.task.id, again.attempt, again.losses) == ("type:0", 1, 0), "in front"
    assert await bench.settle(got) is Settled.LOST
    await bench.audit()


async def test_what_began_after_it_had_waited_is_a_loss(bench: Bench) -> None:
    await bench.put(a_task(0))
    got = await lease(bench)
    await says(bench, "a", got, True)
    await says(bench, "a", got, False)
    await dies(bench)
    record = await bench.record("type:0")
    assert (record.attempt, record.losses) == (0, 1)


async def test_what_no_heartbeat_named_is_a_loss(bench: Bench) -> None:
    """Nobody knows whether it started between its lease and the worker's death."""
    await bench.put(a_task(0))
    await lease(bench)
    await dies(bench)
    assert (await bench.record("type:0")).losses == 1


async def test_the_word_is_about_one_delivery(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    got = await lease(bench)
    [other] = await bench.lease("a", call=2)
    await bench.queue.extend(
        Beat(worker="a", lease=LEASE, heartbeat=HEARTBEAT, answered=2),
        [
            Held(got.task.id, got.token, waits=True),
            Held(other.task.id, other.token),
            Held(other.task.id, other.token - 1, waits=True),
        ],
    )
    await dies(bench)
    losses = [(await bench.record(f"type:{n}")).losses for n in range(2)]
    assert losses == [0, 1]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_heartbeat_whose_reply_was_lost_counts(bench: Bench, waits: bool) -> None:
    """The worker does not start it before a reply: only what is recorded is known."""
    await bench.put(a_task(0))
    got = await lease(bench)
    await says(bench, "a", got, not waits)
    bench.records.lose_reply()
    with pytest.raises(Unknown):
        await says(bench, "a", got, waits)
    await dies(bench)
    assert (await bench.record("type:0")).losses == (0 if waits else 1)


async def test_a_heartbeat_that_never_arrived_changes_nothing(bench: Bench) -> None:
    await bench.put(a_task(0))
    got = await lease(bench)
    await says(bench, "a", got, True)
    bench.records.refuse("swap")
    with pytest.raises(Exception, match="gone"):
        await says(bench, "a", got, False)
    await dies(bench)
    assert (await bench.record("type:0")).losses == 0


async def test_it_counts_whoever_gives_the_tasks_away(bench: Bench) -> None:
    """The one that buried the worker did not come further; the worker itself goes on."""
    await bench.put(a_task(0))
    got = await lease(bench)
    await says(bench, "a", got, True)
    [row] = await bench.store.load(["worker/a"])
    worker = layout.unpack(row, layout.WorkerRow)
    assert row is not None
    assert worker is not None
    assert await bench.queue._keeper._bury(row.key, row.version, worker)
    assert (await says(bench, "a", got, True)).held == [Hold.LOST]
    record = await bench.record("type:0")
    assert (record.state, record.losses) == (State.PENDING, 0)
    assert await bench.settle(got) is Settled.LOST


async def test_one_that_leaves_hands_back_what_waited(bench: Bench) -> None:
    await bench.put(a_task(0))
    got = await lease(bench)
    await says(bench, "a", got, True)
    await bench.beat("a", leaving=True)
    record = await bench.record("type:0")
    assert (record.state, record.attempt, record.losses) == (State.PENDING, 0, 0)


async def test_what_waited_and_is_to_be_canceled_ends(bench: Bench) -> None:
    await bench.put(a_task(0))
    got = await lease(bench)
    await says(bench, "a", got, True)
    await bench.queue.control([Cancel("type:0", "wish")])
    await dies(bench)
    record = await bench.record("type:0")
    assert (record.state, record.reason, record.losses) == (State.CANCELED, "wish", 0)


async def test_a_row_of_before_this_word_is_read(bench: Bench) -> None:
    """A worker's row that an earlier version wrote says of nothing that it waits."""
    beat = Beat(worker="a")
    old = layout.pack([beat, 1.0, "epoch", 2.0, False])
    read = layout.unpack(Row("worker/a", 1, old, layout.WORKERS, 0), layout.WorkerRow)
    assert read is not None
    assert read.waiting == []


async def test_an_ordinary_heartbeat_costs_no_further_write(bench: Bench) -> None:
    await bench.put(a_task(0))
    got = await lease(bench)
    await says(bench, "a", got, False)
    swaps = []
    for waits in (False, True, False):
        before = bench.records.swaps
        await says(bench, "a", got, waits)
        swaps.append(bench.records.swaps - before)
    assert swaps == [1, 1, 1]


async def test_a_heartbeat_that_was_overtaken_does_not_bring_the_word_back(bench: Bench) -> None:
    await bench.put(a_task(0, max_retry=0))
    got = await lease(bench)
    held = {waits: [Held(got.task.id, got.token, waits)] for waits in (True, False)}
    for number, waits in ((1, True), (3, False), (2, True)):
        beat = Beat(worker="a", lease=LEASE, heartbeat=HEARTBEAT, answered=1, number=number)
        await bench.queue.extend(beat, held[waits])
    await dies(bench)
    record = await bench.record("type:0")
    assert (record.state, record.losses) == (State.PENDING, 1)
