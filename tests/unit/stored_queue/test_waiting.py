"""Alarms, pauses, lines of parked tasks, expunging."""

from __future__ import annotations

import pytest

from support.queues import Bench, a_task
from xqueue_core.calls import (
    Cancel,
    Did,
    Pause,
    Purge,
    Put,
    Replay,
    Reschedule,
    Resume,
    Settled,
    Unpark,
)
from xqueue_core.stored.layout import Tombstone
from xqueue_core.task import HandBack, Parked, State, Success

pytestmark = pytest.mark.anyio


async def _states(bench: Bench, *ids: str) -> list[str]:
    return [(await bench.record(id)).state.value for id in ids]


async def test_a_delayed_task_is_promoted_when_it_is_due(bench: Bench) -> None:
    await bench.put(a_task(0, delay=5.0), a_task(1, run_at=bench.clock.wall + 6.0))
    await bench.beat("a")
    bench.later(4.9)
    await bench.queue.maintain(1.0)
    assert await bench.lease("a") == []
    bench.later(0.1)
    assert 0.0 < await bench.queue.maintain(1.0) <= 1.0
    assert await _states(bench, "type:0", "type:1") == ["pending", "scheduled"]
    bench.later(1.0)
    assert [one.task.id for one in await bench.lease("a", 2)] == ["type:0", "type:1"]


async def test_a_pause_stands_queue_timeout_still(bench: Bench) -> None:
    await bench.put(a_task(0, queue_timeout=10.0), a_task(1, queue_timeout=10.0, delay=5.0))
    bench.later(8.0)
    await bench.queue.maintain(1.0)
    await bench.queue.control([Pause("type")])
    for _ in range(3):
        bench.later(100.0)
        await bench.queue.maintain(1.0)
        assert await _states(bench, "type:0", "type:1") == ["pending", "pending"]
    await bench.queue.control([Resume("type")])
    bench.later(1.9)
    await bench.queue.maintain(1.0)
    assert await _states(bench, "type:0", "type:1") == ["pending", "pending"]
    bench.later(0.2)
    await bench.beat("a")
    [delivery] = await bench.lease("a", 2)  # a lease decides at once
    assert delivery.task.id == "type:1"
    assert await _states(bench, "type:0") == ["timeout"]


async def _long_pause(bench: Bench) -> None:
    await bench.queue.control([Pause("type")])
    for _ in range(100):
        bench.later(10.0)
        await bench.queue.maintain(1.0)
    await bench.queue.control([Resume("type")])


async def test_a_wait_that_went_on_after_a_long_pause_ends_when_it_should(bench: Bench) -> None:
    await bench.put(*(a_task(n, queue_timeout=10.0) for n in range(1200)))
    await bench.put(*(a_task(f"k{n}", queue_timeout=10.0, key=f"k{n}") for n in range(3)))
    await bench.beat("a")
    # Those with a key are parked; one of the others waits for an able worker.
    for delivery in await bench.lease("a", 2000):
        if delivery.task.key or delivery.task.id == "type:0":
            await bench.settle(delivery, Parked() if delivery.task.key else HandBack(unable="type"))
        else:
            await bench.settle(delivery, HandBack())
    await bench.beat("a", leaving=True)
    await _long_pause(bench)
    bench.later(9.9)
    for _ in range(10):
        await bench.queue.maintain(1.0)
    ids = [*(f"type:{n}" for n in range(1200)), *(f"type:k{n}" for n in range(3))]
    assert set(await _states(bench, *ids)) == {"pending"}
    bench.later(0.2)
    for _ in range(10):
        await bench.queue.maintain(1.0)
    assert set(await _states(bench, *ids)) == {"timeout"}
    assert await bench.store.load(["still/type"]) == [None]
    await bench.audit()


async def test_a_lane_that_is_paused_again_while_it_wakes_up_loses_nothing(bench: Bench) -> None:
    await bench.put(*(a_task(n, queue_timeout=10.0) for n in range(600)))
    await _long_pause(bench)
    bench.records.before("due", lambda: _paused(bench))
    await bench.queue.maintain(1.0)
    assert bench.records.waiting == 0
    bench.later(100.0)
    await bench.queue.maintain(1.0)
    assert await _states(bench, "type:0", "type:599") == ["pending", "pending"]
    await bench.queue.control([Resume("type")])
    bench.later(10.1)
    for _ in range(10):
        await bench.queue.maintain(1.0)
    assert await _states(bench, "type:0", "type:599") == ["timeout", "timeout"]


async def _paused(bench: Bench) -> None:
    await bench.queue.control([Pause("type")])


async def test_a_lane_without_timed_tasks_goes_on_without_a_look(bench: Bench) -> None:
    await bench.put(a_task(0))
    await _long_pause(bench)
    assert await bench.store.load(["still/type"]) == [None]


async def test_tasks_whose_lane_is_paused_keep_nobody_busy(bench: Bench) -> None:
    """Their alarms have passed, but they must not be looked at again and again."""
    await bench.put(*(a_task(n, queue_timeout=10.0) for n in range(600)))
    await bench.put(a_task("other", lane="other", delay=20.0))
    await bench.queue.control([Pause("type")])
    bench.later(15.0)
    await bench.queue.maintain(1.0)
    swaps = bench.records.swaps
    assert await bench.queue.maintain(1.0) > 0.0
    assert bench.records.swaps <= swaps + 1
    bench.later(5.0)
    await bench.queue.maintain(1.0)
    assert await _states(bench, "type:other", "type:0") == ["pending", "pending"]


async def test_a_wait_for_an_able_worker_ends_with_queue_timeout(bench: Bench) -> None:
    await bench.put(a_task(0, queue_timeout=2.5))
    await bench.beat("a")
    for wait in (1.0, 2.0):
        [delivery] = await bench.lease("a")
        assert await bench.settle(delivery, HandBack(unable="type")) is Settled.APPLIED
        assert (await bench.record("type:0")).due_at == bench.clock.wall + wait
        bench.later(min(wait, 1.5))
        await bench.queue.maintain(1.0)
    assert await _states(bench, "type:0") == ["timeout"]


async def test_a_wait_for_an_able_worker_stands_still_while_paused(bench: Bench) -> None:
    await bench.put(a_task(0, queue_timeout=3.0))
    await bench.beat("a")
    for _ in range(2):
        [delivery] = await bench.lease("a")
        await bench.settle(delivery, HandBack(unable="type"))
        bench.later(0.9)
        await bench.queue.maintain(1.0)
        if (await bench.record("type:0")).unable == 1:
            bench.later(0.1)
            await bench.queue.maintain(1.0)
    await bench.queue.control([Pause("type")])
    bench.later(1.05)
    await bench.queue.maintain(1.0)
    bench.later(50.0)
    await bench.queue.maintain(1.0)
    assert await _states(bench, "type:0") == ["pending"]


async def test_a_pause_while_nobody_promoted_counts_too(bench: Bench) -> None:
    await bench.put(a_task(0, queue_timeout=10.0, delay=5.0))
    await bench.queue.control([Pause("type")])
    bench.later(500.0)  # nobody is there to notice that the task is due
    await bench.queue.maintain(1.0)
    assert await _states(bench, "type:0") == ["pending"]


async def test_a_lane_row_that_was_lost_expires_nothing_early(bench: Bench) -> None:
    await bench.queue.control([Pause("type")])
    bench.later(100.0)
    await bench.queue.control([Resume("type")])
    await bench.put(a_task(0, queue_timeout=50.0))
    await bench.damage("lane/type", b"\xff")
    bench.later(40.0)
    await bench.queue.maintain(1.0)
    await bench.beat("a")
    assert len(await bench.lease("a")) == 1


async def test_a_line_of_parked_tasks(bench: Bench) -> None:
    keyed = {"key": "user/1"}
    await bench.put(a_task(0, **keyed), a_task(1, **keyed))
    await bench.beat("a")
    first, second = await bench.lease("a", 2)
    await bench.settle(first, Parked())
    assert await bench.put(a_task(2, **keyed), a_task(3, delay=1.0, **keyed)) == [Put.NEW] * 2
    bench.later(1.0)
    await bench.queue.maintain(1.0)
    lines = await bench.queue.parked(["type", "none"], None, 10)
    assert [(one.lane, one.key, one.waiting) for one in lines.items] == [("type", "user/1", 3)]
    assert await bench.lease("a") == []
    [verdict] = await bench.queue.control([Unpark("type", "user/1", 2)])
    assert (verdict.did, verdict.count) == (Did.APPLIED, 2)
    assert [one.task.id for one in await bench.lease("a", 9)] == ["type:0", "type:2"]
    [verdict] = await bench.queue.control([Unpark("type", "user/1", 9)])
    assert verdict.count == 1
    await bench.settle(second, Success())
    assert (await bench.queue.parked(["type"], None, 10)).items == []


async def test_a_task_without_key_that_is_parked_can_be_let_go(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    await bench.settle(delivery, Parked())
    lines = await bench.queue.parked(["type"], None, 10)
    assert [(one.key, one.waiting) for one in lines.items] == [("", 1)]
    [verdict] = await bench.queue.control([Unpark("type", "", 1)])
    assert verdict.count == 1


async def test_lines_are_listed_in_pages(bench: Bench) -> None:
    await bench.beat("a")
    for lane in ("x", "y"):
        for n in range(5):
            await bench.put(a_task(f"{lane}{n}", lane=lane, key=f"k{n}"))
        for delivery in await bench.lease("a", 5, lane=lane):
            await bench.settle(delivery, Parked())
    for size in (1, 2, 3, 5, 7, 10, 11):
        found, after = [], None
        while True:
            page = await bench.queue.parked(["y", "x", "x"], after, size)
            assert len(page.items) <= size
            found += [(one.lane, one.key) for one in page.items]
            after = page.next
            if after is None:
                break
        assert found == [(lane, f"k{n}") for lane in "xy" for n in range(5)]


async def test_the_record_of_a_final_task_goes_when_its_time_is_over(bench: Bench) -> None:
    await bench.put(a_task(0, result_ttl=10.0, remember=False))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    await bench.settle(delivery)
    bench.later(9.0)
    await bench.queue.maintain(1.0)
    assert await _states(bench, "type:0") == ["success"]
    bench.later(1.0)
    await bench.queue.maintain(1.0)
    assert isinstance(await bench.body("type:0"), Tombstone)
    assert await bench.settle(delivery) is Settled.REPEATED
    bench.later(115.0)
    await bench.queue.maintain(1.0)
    assert await bench.body("type:0") is None
    assert await bench.settle(delivery) is Settled.LOST


async def test_a_replay_races_with_expunging(bench: Bench) -> None:
    await bench.put(a_task(0, result_ttl=10.0))
    await bench.queue.control([Cancel("type:0")])
    bench.later(11.0)

    async def replay() -> None:
        [verdict] = await bench.queue.control([Replay("type:0", "request")])
        assert verdict.did is Did.APPLIED

    bench.records.before("swap", replay)
    await bench.queue.maintain(1.0)
    assert await _states(bench, "type:0") == ["pending"]


async def test_what_has_passed_may_be_purged_and_rescheduled(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1, delay=50.0), a_task(2))
    await bench.beat("a")
    [running] = await bench.lease("a")
    commands = [Reschedule(f"type:{n}", delay=2.0) for n in range(3)]
    verdicts = await bench.queue.control([*commands, Reschedule("type:9"), Purge("type:9")])
    assert [one.did for one in verdicts] == [
        Did.RUNNING, Did.APPLIED, Did.APPLIED, Did.UNKNOWN, Did.UNKNOWN,
    ]  # fmt: skip
    bench.later(2.0)
    await bench.queue.maintain(1.0)
    assert await _states(bench, "type:1", "type:2") == ["pending", "pending"]
    [verdict] = await bench.queue.control([Purge("type:0")])
    assert verdict.did is Did.REQUESTED
    await bench.settle(running, HandBack())
    assert (await bench.record("type:0")).state is State.CANCELED
    [verdict] = await bench.queue.control([Purge("type:0")])
    assert verdict.did is Did.APPLIED
    assert isinstance(await bench.body("type:0"), Tombstone)
