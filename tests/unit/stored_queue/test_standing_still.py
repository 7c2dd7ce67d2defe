"""A process stands still between reading what is due and its swap, for a whole life of a row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.queues import Bench, a_task
from support.stores import KINDS, open_records
from xqueue_core.calls import Put, Settled
from xqueue_core.stored.layout import Tombstone
from xqueue_core.task import Failure, RetryAt, State

pytestmark = pytest.mark.anyio

ID = "type:0"


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A queue over each store."""
    bench = Bench()
    async with open_records(request.param, tmp_path, bench.clock) as records:
        store: Any = records
        bench.store = bench.records.inner = store
        yield bench
        assert bench.records.waiting == 0, "something that was to happen did not"
        await bench.audit()


async def everything(bench: Bench, key: str) -> list[object]:
    return [await bench.store.load([key]), (await bench.store.due(9))[0], await bench.counts()]


async def an_expired_tombstone(bench: Bench) -> None:
    """Put, lease and settle the task, and wait until nothing but its id is left, for too long."""
    await bench.put(a_task(0, remember=False, result_ttl=1.0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    assert await bench.settle(delivery) is Settled.APPLIED
    bench.later(2.0)
    await bench.queue.maintain(1.0)
    stone = await bench.body(ID)
    assert isinstance(stone, Tombstone)
    bench.later(1_000.0)
    await bench.beat("a")


@pytest.mark.parametrize("changes", range(5))
async def test_a_new_task_is_not_taken_for_the_tombstone_before_it(
    bench: Bench, changes: int
) -> None:
    """It is put, leased, settled with a retry, promoted and leased again, as far as told."""
    await an_expired_tombstone(bench)
    after: list[object] = []

    async def another_life() -> None:
        await bench.another().maintain(1.0)
        assert await bench.body(ID) is None
        assert await bench.put(a_task(0)) == [Put.NEW]
        leased = await bench.lease("a", min(changes, 1))
        if changes > 1:
            retry = RetryAt(1.0, Failure("exception"))
            assert await bench.settle(leased[0], retry) is Settled.APPLIED
        if changes > 2:
            bench.later(2.0)
            await bench.another().maintain(1.0)
        if changes > 3:
            assert len(await bench.lease("a")) == 1
        after.extend(await everything(bench, f"t/{ID}"))

    bench.records.before("swap", another_life)
    await bench.queue.maintain(1.0)  # by the process that stands still
    assert await everything(bench, f"t/{ID}") == after
    states = [State.PENDING, State.PROCESSING, State.SCHEDULED, State.PENDING, State.PROCESSING]
    assert (await bench.record(ID)).state is states[changes]


async def test_a_new_unique_key_is_not_taken_for_the_one_before_it(bench: Bench) -> None:
    def unique(n: int) -> Any:
        return a_task(n, unique_key="k", unique_for=100.0)

    await bench.put(unique(0))
    await bench.beat("a")
    [delivery] = await bench.lease("a")
    await bench.settle(delivery)
    bench.later(101.0)
    await bench.beat("a")
    after: list[object] = []

    async def another_life() -> None:
        await bench.another().maintain(1.0)
        assert await bench.store.load(["u/type/k"]) == [None]
        assert await bench.put(unique(1)) == [Put.NEW]
        [delivery] = await bench.lease("a")
        assert await bench.settle(delivery) is Settled.APPLIED
        after.extend(await everything(bench, "u/type/k"))

    bench.records.before("swap", another_life)
    await bench.queue.maintain(1.0)  # by the process that stands still
    assert await everything(bench, "u/type/k") == after
    assert await bench.put(unique(2)) == [Put.DUPLICATE]
