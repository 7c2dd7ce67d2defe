"""Two workers, call numbers and lost replies while tasks are leased and settled."""

from __future__ import annotations

import pytest

from support.queues import Bench, a_task
from xqueue_core.calls import Cancel, Did, Hold, Pause, Resume, Settle, Settled, Want
from xqueue_core.errors import LeaseLost, Refused, Unavailable, Unknown
from xqueue_core.stored import layout
from xqueue_core.stored.records import ABSENT, Change, Group
from xqueue_core.task import EventName, Failure, HandBack, RetryAt, State

pytestmark = pytest.mark.anyio


async def test_two_workers_that_lease_at_once_share_no_task(bench: Bench) -> None:
    await bench.put(*(a_task(n) for n in range(5)))
    await bench.beat("a")
    await bench.beat("b")
    taken = []

    async def other() -> None:
        taken.extend(await bench.lease("b", 3))

    bench.records.before("swap", other)
    mine = await bench.lease("a", 3)
    assert len(taken) == 3
    assert 1 <= len(mine) <= 3
    assert not {one.task.id for one in mine} & {one.task.id for one in taken}


async def test_a_worker_that_loses_every_row_to_another_looks_again(bench: Bench) -> None:
    await bench.put(*(a_task(n, priority=9 - n % 2) for n in range(60)))
    await bench.beat("a")
    await bench.beat("b")
    for _ in range(3):

        async def other() -> None:
            assert len(await bench.lease("b", 5)) == 5

        bench.records.before("swap", other)
        assert len(await bench.lease("a", 5)) == 5


async def test_what_becomes_due_is_leased_in_its_turn_though_others_are_ready(
    bench: Bench,
) -> None:
    await bench.put(*(a_task(n) for n in range(100)))
    await bench.put(a_task(100, priority=9, delay=3.0))
    await bench.beat("a")
    assert [one.task.priority for one in await bench.lease("a")] == [0]
    bench.later(3.1)
    assert [one.task.priority for one in await bench.lease("a")] == [9]


async def test_the_turn_of_a_first_call_that_looked_again_is_recorded(bench: Bench) -> None:
    await bench.put(a_task(0, lane="one"), a_task(1, lane="two"))
    await bench.beat("a")
    await bench.beat("b")
    await bench.store.swap([Group([Change("any", ABSENT, b"")])])
    await bench.forget("any")  # from now on no new row of this store has the version 1
    wants = [Want("one", 1), Want("two", 1)]

    async def other() -> None:
        assert len(await bench.lease("b", lane="one")) == 1

    bench.records.before("swap", other)
    leased = await bench.queue.lease(wants, 1, 1, "a", 0.0)
    assert [one.task.lane for one in leased.deliveries] == ["two"]
    turn = layout.unpack((await bench.store.load(["turn/a"]))[0], layout.TurnRow)
    assert turn is not None
    assert (turn.call, turn.lane) == (1, "two")


async def test_a_call_repeated_returns_what_it_took(bench: Bench) -> None:
    await bench.put(*(a_task(n) for n in range(4)))
    await bench.beat("a")
    first = await bench.lease("a", 2, call=1)
    assert await bench.lease("a", 2, call=1) == first
    await bench.settle(first[0])
    assert await bench.lease("a", 2, call=1) == first[1:]
    await bench.settle(first[1])
    other = await bench.lease("a", 2, call=1)
    assert {one.task.id for one in other} == {"type:2", "type:3"}
    with pytest.raises(Refused):
        await bench.lease("a", 2, call=0)


async def test_a_lease_whose_reply_was_lost_is_repeated(bench: Bench) -> None:
    await bench.put(*(a_task(n) for n in range(3)))
    await bench.beat("a")
    bench.records.lose_reply()
    with pytest.raises(Unknown):
        await bench.lease("a", 2, call=1)
    await bench.beat("a", answered=0)
    again = await bench.lease("a", 2, call=1)
    assert [one.attempt for one in again] == [1, 1]
    assert [one.task.id for one in again] == ["type:0", "type:1"]


async def test_a_lease_that_fails_after_it_took_something_does_not_say_that_nothing_happened(
    bench: Bench,
) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    wants = [Want("type", 1), Want("other", 0)]
    bench.records.refuse("scan", 3)  # two look for tasks, the third whether there is work
    with pytest.raises(Unknown):
        await bench.queue.lease(wants, 1, 1, "a", 0.0)
    [again] = (await bench.queue.lease(wants, 1, 1, "a", 0.0)).deliveries
    assert again.attempt == 1
    bench.records.refuse("scan")
    with pytest.raises(Unavailable):
        await bench.queue.lease(wants, 1, 2, "a", 0.0)


async def test_a_lease_that_nobody_knows_of_is_handed_back_uncharged(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    bench.records.lose_reply()
    with pytest.raises(Unknown):
        await bench.lease("a", 1, call=1)
    await bench.beat("a", answered=1)
    record = await bench.record("type:0")
    assert (record.state, record.attempt, record.losses) == (State.PENDING, 0, 0)
    assert record.history[-1].how == "handback"


async def test_an_unregistered_worker_gets_nothing(bench: Bench) -> None:
    await bench.put(a_task(0))
    with pytest.raises(LeaseLost):
        await bench.lease("stranger")


async def test_a_settle_whose_reply_was_lost_is_repeated(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    bench.records.lose_reply()
    with pytest.raises(Unknown):
        await bench.settle(delivery)
    assert await bench.settle(delivery) is Settled.REPEATED
    assert await bench.settle(delivery, HandBack()) is Settled.REPEATED
    assert (await bench.record("type:0")).state is State.SUCCESS


async def test_a_batch_with_one_delivery_twice_applies_it_once(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    retry = RetryAt(0.0, Failure("exception"))
    one = Settle("type:0", delivery.token, retry)
    assert await bench.queue.settle([one, one]) == [Settled.APPLIED, Settled.REPEATED]
    [again] = await bench.lease("a")
    assert again.token > delivery.token
    stale = await bench.settle(delivery)
    assert stale is Settled.REPEATED
    assert (await bench.record("type:0")).state is State.PROCESSING


async def test_cancel_and_settle_at_once_agree(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")

    async def cancel() -> None:
        [verdict] = await bench.queue.control([Cancel("type:0")])
        assert verdict.did is Did.REQUESTED

    bench.records.before("swap", cancel)
    retry = RetryAt(0.0, Failure("exception"))
    assert await bench.settle(delivery, retry) is Settled.APPLIED
    assert (await bench.record("type:0")).state is State.CANCELED


async def test_cancel_before_the_lease_wins(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")

    async def cancel() -> None:
        [verdict] = await bench.queue.control([Cancel("type:0")])
        assert verdict.did is Did.APPLIED

    bench.records.before("swap", cancel)
    assert await bench.lease("a") == []
    assert (await bench.record("type:0")).state is State.CANCELED


async def test_a_cancel_whose_reply_was_lost_is_told_once(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    bench.records.lose_reply()
    with pytest.raises(Unknown):
        await bench.queue.control([Cancel("type:0")])
    [verdict] = await bench.queue.control([Cancel("type:0")])
    assert verdict.did is Did.REQUESTED
    assert (await bench.beat("a", delivery)).held == [Hold.CANCELED]
    names = [event.name for event in await bench.events()]
    assert names.count(EventName.CANCEL_REQUESTED) == 1


async def test_a_lane_that_is_paused_gives_nothing(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a", lanes=["type"])
    await bench.queue.control([Pause("type"), Pause("type")])
    assert await bench.lease("a") == []
    assert (await bench.beat("a", lanes=["type"])).paused == ["type"]
    leased = await bench.queue.lease([Want("type", 0)], 5, 9, "a", 0.0)
    assert leased.ready == []
    await bench.queue.control([Resume("type")])
    assert (await bench.queue.lease([Want("type", 0)], 5, 9, "a", 0.0)).ready == ["type"]
    assert len(await bench.lease("a", call=10)) == 1


async def test_expired_tasks_in_front_hide_nobody(bench: Bench) -> None:
    short = {"queue_timeout": 5.0}
    await bench.put(*(a_task(n, priority=9, **short) for n in range(40)))
    await bench.put(*(a_task(n, priority=9, unique_key=str(n), **short) for n in range(50, 60)))
    await bench.put(a_task("last"), a_task("last2", priority=3))
    bench.later(6.0)
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    assert delivery.task.id == "type:last2"
    assert (await bench.record("type:50")).state is State.TIMEOUT
    assert await bench.put(a_task("fresh", unique_key="50")) == ["new"]


async def test_a_row_that_does_not_belong_there_stops_nobody(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    [ready] = await bench.store.load(["t/type:0"])
    await bench.queue.control([Cancel("type:0")])
    [final] = await bench.store.load(["t/type:0"])
    assert ready is not None
    assert final is not None
    wrong = Change(final.key, final.version, final.body, ready.bucket, ready.order)
    assert await bench.store.swap([Group([wrong])]) == [True]
    await bench.beat("a")
    assert [one.task.id for one in await bench.lease("a", 2)] == ["type:1"]
    assert await bench.lease("a", 2) == []
