"""What is remembered of workers that are gone, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from support.queues import HEARTBEAT, LEASE, Bench
from xqueue_core.calls import Order
from xqueue_core.stored.gone import LATE, ORDERED

pytestmark = pytest.mark.anyio

ME: dict[str, Any] = {"host": "host.example", "pid": 7, "started_at": 1.7e9}


async def _dies(bench: Bench, worker: str) -> None:
    """Time in which another worker beats, until this one is declared dead."""
    for _ in range(int(LEASE / HEARTBEAT) + 3):
        bench.later(HEARTBEAT)
        await bench.beat("lives")
        await bench.queue.maintain(1.0)
    assert await bench.store.load([f"worker/{worker}"]) == [None]


async def _there(bench: Bench, key: str) -> bool:
    [row] = await bench.store.load([key])
    return row is not None


async def test_that_a_worker_left_is_forgotten_when_no_heartbeat_can_come(bench: Bench) -> None:
    await bench.beat("a", number=1, **ME)
    await bench.beat("a", number=3, leaving=True, **ME)
    await bench.beat("a", number=2, **ME)
    assert not await _there(bench, "worker/a")
    bench.later(LATE - 1)
    await bench.queue.maintain(1.0)
    assert await _there(bench, "left/a")
    bench.later(2)
    await bench.queue.maintain(1.0)
    assert not await _there(bench, "left/a")


@pytest.mark.parametrize("told", [{**ME, "number": 3}, {**ME, "number": 0}, {"number": 2}])
async def test_who_may_be_another_one_is_let_in(bench: Bench, told: dict[str, Any]) -> None:
    await bench.beat("a", number=3, leaving=True, **ME)
    await bench.beat("a", **told)
    assert await _there(bench, "worker/a")


async def test_orders_to_the_dead_are_forgotten_if_it_does_not_come_back(bench: Bench) -> None:
    await bench.beat("a", **ME)
    await bench.queue.control([Order("a", stop=True)])
    await _dies(bench, "a")
    bench.later(ORDERED - 60)
    await bench.queue.maintain(1.0)
    assert await _there(bench, "orders/a")
    bench.later(70)
    await bench.queue.maintain(1.0)
    assert not await _there(bench, "orders/a")


async def test_orders_to_who_came_back_stay_until_it_leaves(bench: Bench) -> None:
    await bench.beat("a", **ME)
    await bench.queue.control([Order("a", stop=True)])
    await _dies(bench, "a")
    for _ in range(2):
        assert (await bench.beat("a", **ME)).stop
        bench.later(ORDERED + 60)
        await bench.queue.maintain(1.0)
    await bench.beat("a", leaving=True, **ME)
    assert not await _there(bench, "orders/a")
