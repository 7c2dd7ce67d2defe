"""Permits of workers whose heartbeats are as seldom as settings allow: a quarter of the lease."""

from __future__ import annotations

import pytest

from support.asking import grants, pass_time, renew, take, wish
from support.stores import FakeClock
from xqueue_core.permits import Grant, Keep
from xqueue_core.stored.semaphore import StoredSemaphore

pytestmark = pytest.mark.anyio

LEASE = 60.0


async def _beat(
    semaphore: StoredSemaphore, clock: FakeClock, seconds: float, worker: str, heartbeat: float
) -> None:
    """Time passes while this worker alone renews, every half heartbeat."""
    for _ in range(int(seconds / (heartbeat / 2))):
        pass_time(clock, heartbeat / 2)
        await renew(semaphore, worker, lease=LEASE, heartbeat=heartbeat)


@pytest.mark.parametrize("heartbeat", [1.0, LEASE / 10, LEASE / 4])
async def test_a_dead_workers_permit_is_free_after_its_lease(
    semaphore: StoredSemaphore, clock: FakeClock, heartbeat: float
) -> None:
    await semaphore.set_limit("k", 1)
    for worker in ("dead", "w"):
        await renew(semaphore, worker, lease=LEASE, heartbeat=heartbeat)
    dead = await take(semaphore, "a", "dead")
    await renew(semaphore, "dead", dead, lease=LEASE, heartbeat=heartbeat)
    await _beat(semaphore, clock, LEASE, "w", heartbeat)
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    await _beat(semaphore, clock, heartbeat, "w", heartbeat)
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]


async def test_an_outage_shorter_than_the_slowest_beats_expires_no_short_lease(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    """It leaves no trace: who renews seldom has missed nothing."""
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a", "short")
    for _ in range(4):
        pass_time(clock, 1.0)
        await renew(semaphore, "short", held, lease=15.0, heartbeat=1.0)
    await renew(semaphore, "slow", lease=LEASE, heartbeat=15.0)
    await renew(semaphore, "short", held, lease=15.0, heartbeat=1.0)
    pass_time(clock, 29.0)
    await renew(semaphore, "slow", lease=LEASE, heartbeat=15.0)
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    assert await renew(semaphore, "short", held, lease=15.0, heartbeat=1.0) == [Keep.KEPT]
