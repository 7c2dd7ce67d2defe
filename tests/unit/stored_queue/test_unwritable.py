"""A row that the store refuses to write holds up nobody else."""

from __future__ import annotations

import pytest

from support.queues import LEASE, Bench, Meddled, a_task
from xqueue_core.calls import Capabilities, Did, Order
from xqueue_core.errors import LeaseLost, Refused
from xqueue_core.stored.leasing import HELD
from xqueue_core.stored.records import Group
from xqueue_core.task import State

pytestmark = pytest.mark.anyio


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Ids whose row the store refuses to write with other content, as if it were too large."""
    refused: set[str] = set()
    swap = Meddled.swap

    async def choosy(self: Meddled, groups: list[Group]) -> object:
        for change in (change for group in groups for change in group.changes):
            if change.key[2:] in refused:
                [row] = await self.inner.load([change.key])
                if row is not None and row.body != change.body:
                    raise Refused(f"{change.key} is too large")
        return await swap(self, groups)

    monkeypatch.setattr(Meddled, "swap", choosy)
    return refused


async def test_what_a_dead_worker_held_beside_it_comes_back(bench: Bench, picky: set[str]) -> None:
    await bench.put(*(a_task(n) for n in range(4)))
    await bench.beat("dead")
    await bench.lease("dead", 4)
    picky.add("type:2")
    for _ in range(30):
        bench.later(LEASE / 10)
        await bench.beat("alive")
        await bench.queue.maintain(1.0)
    pending, processing = State.PENDING, State.PROCESSING
    states = [(await bench.record(f"type:{n}")).state for n in range(4)]
    assert states == [pending, pending, processing, pending]
    picky.clear()
    await bench.queue.maintain(1.0)
    record = await bench.record("type:2")
    assert (record.state, record.losses) == (pending, 1)


async def test_what_is_due_beside_it_comes(bench: Bench, picky: set[str]) -> None:
    await bench.put(*(a_task(n, delay=5.0) for n in range(4)))
    picky.add("type:2")
    bench.later(5.0)
    await bench.beat("a")
    assert len(await bench.lease("a", 9)) == 3
    # It is not found due at every look from now on.
    loads = bench.records.loads
    assert await bench.queue.maintain(1.0) > 0
    assert bench.records.loads < loads + 10
    picky.clear()
    bench.later(60.0)
    await bench.queue.maintain(1.0)
    assert (await bench.record("type:2")).state is State.PENDING


async def test_no_worker_holds_more_than_is_looked_at() -> None:
    assert Capabilities().max_in_flight <= HELD


async def test_an_order_for_a_worker_that_leaves_meanwhile_leaves_no_trace(bench: Bench) -> None:
    await bench.beat("a")

    async def leaves() -> None:
        await bench.beat("a", leaving=True)

    bench.records.before("swap", leaves)
    [verdict] = await bench.queue.control([Order("a", stop=True)])
    assert verdict.did is Did.UNKNOWN
    assert await bench.store.load(["orders/a"]) == [None]
    with pytest.raises(LeaseLost):
        await bench.lease("a")
