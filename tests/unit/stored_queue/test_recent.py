"""What a queue remembers of its leases saves reading, and never decides."""

from __future__ import annotations

import pytest

from support.queues import LEASE, Bench, a_task
from xqueue_core.calls import Cancel, Settle, Settled
from xqueue_core.stored.reads import _BYTES, _TASKS, Recent
from xqueue_core.stored.records import Now, Row
from xqueue_core.task import Record, State, Success, Task

pytestmark = pytest.mark.anyio


async def loads_of(bench: Bench, *settles: Settle) -> tuple[list[Settled], int]:
    """The verdicts of one call of ``settle``, and how often it read."""
    before = bench.records.loads
    verdicts = list(await bench.queue.settle(settles))
    return verdicts, bench.records.loads - before


async def test_a_task_just_leased_is_settled_without_reading(bench: Bench) -> None:
    await bench.put(*(a_task(n) for n in range(3)))
    await bench.beat("a")
    leased = await bench.lease("a", 3)
    settles = [Settle(one.task.id, one.token, Success()) for one in leased]
    assert await loads_of(bench, *settles) == ([Settled.APPLIED] * 3, 0)
    assert await loads_of(bench, *settles) == ([Settled.REPEATED] * 3, 1)


async def test_what_changed_since_is_read(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    await bench.beat("a")
    one, two = await bench.lease("a", 2)
    await bench.queue.control([Cancel(one.task.id)])
    settles = [Settle(d.task.id, d.token, Success()) for d in (one, two)]
    assert await loads_of(bench, *settles) == ([Settled.APPLIED] * 2, 1)
    assert (await bench.record(one.task.id)).state is State.SUCCESS


async def test_another_workers_delivery_is_left_alone(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [lost] = await bench.lease("a")
    await bench.beat("b")
    for _ in range(int(LEASE) + 2):
        bench.later(1.0)
        await bench.beat("b")
    other = bench.another()
    await other.maintain(1.0)
    [again] = await bench.lease("b")
    assert await bench.settle(lost) is Settled.LOST
    assert (await bench.record("type:0")).state is State.PROCESSING
    assert await bench.settle(again) is Settled.APPLIED


async def test_an_old_memory_is_not_trusted(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    bench.later(61.0)
    await bench.beat("a", delivery)
    settle = Settle(delivery.task.id, delivery.token, Success())
    assert await loads_of(bench, settle) == ([Settled.APPLIED], 1)


async def test_a_wrong_token_is_decided_by_the_store(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    wrong = Settle(delivery.task.id, delivery.token + 1, Success())
    assert await loads_of(bench, wrong) == ([Settled.LOST], 1)
    assert await bench.settle(delivery) is Settled.APPLIED


def test_memory_is_bounded() -> None:
    recent, at = Recent(), Now(0.0, 0.0, "boot")
    record = Record(b"", State.PROCESSING, 0, 0.0, 0.0, 0.0)

    def keep(n: int, size: int = 1) -> None:
        task = Task(id=f"type:{n}", lane="type")
        recent.keep(Row(f"t/{task.id}", 2, bytes(size), "", 0), record, task, at)

    for n in range(_TASKS + 1):
        keep(n)
    keep(-1, _BYTES + 1)
    assert [recent.take(f"type:{n}") is None for n in (-1, 0, 1)] == [True, True, False]
    assert recent.take("type:1") is None
