"""A key whose row cannot be read: no permit above the limit, and yet it goes on."""

from __future__ import annotations

import pytest

from support.asking import LEASE, ask, grants, pass_time, renew, run_busy, take, wish
from support.stores import FakeClock
from xqueue_core.permits import Grant, Keep, Permit
from xqueue_core.stored.records import ANY, Change, Group, Records
from xqueue_core.stored.semaphore import StoredSemaphore

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def held(semaphore: StoredSemaphore, records: Records) -> Permit:
    """A permit of a key of limit 3, whose row was damaged since."""
    await semaphore.set_limit("k", 3)
    held = await take(semaphore, "a")
    await records.swap([Group([Change("s/k", ANY, b"\xc1 no MessagePack")])])
    return held


async def test_nothing_is_granted_for_a_lease_and_then_one_at_a_time(
    semaphore: StoredSemaphore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    wishes = wish("b"), wish("c"), wish("d", queue=False, limit=3, stamp=1.0)
    waiting = [Grant.WAITING, Grant.WAITING, Grant.DENIED]
    for _ in range(int(LEASE)):
        assert await grants(semaphore, *wishes) == waiting
        await run_busy(semaphore, clock, 1, "w")
    assert await grants(semaphore, *wishes) == waiting
    await run_busy(semaphore, clock, 1, "w")
    assert await grants(semaphore, *wishes) == [Grant.GRANTED, Grant.WAITING, Grant.DENIED]
    assert [record.getMessage() for record in caplog.records] == [
        "the permits of key 'k' cannot be decoded: none is given for a lease, and then one at a "
        "time until an operator sets its limit"
    ]
    await semaphore.set_limit("k", 2)
    assert await grants(semaphore, *wishes) == [Grant.GRANTED, Grant.GRANTED, Grant.DENIED]


async def test_what_ran_is_counted_meanwhile(
    semaphore: StoredSemaphore, clock: FakeClock, held: Permit
) -> None:
    renewed = await semaphore.renew("w", [held], ["k", "none"], LEASE)
    assert (renewed.permits, renewed.versions) == ([Keep.LOST], {"none": 0})
    running = wish("again", running=True, queue=False)
    [answer] = await ask(semaphore, running)
    assert answer.grant is Grant.GRANTED
    counted = Permit("again", "k", answer.token)
    for _ in range(2 * int(LEASE)):
        pass_time(clock, 0.5)
        assert await renew(semaphore, "w", counted) == [Keep.KEPT]
    assert await grants(semaphore, wish("b", "other", queue=False)) == [Grant.DENIED]
    await run_busy(semaphore, clock, 1, "w")
    await semaphore.release([counted])
    assert await grants(semaphore, wish("b", "other")) == [Grant.GRANTED]


async def test_an_outage_meanwhile_counts_for_nothing(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await run_busy(semaphore, clock, 1, "w")
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    pass_time(clock, 3 * LEASE)
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    await run_busy(semaphore, clock, LEASE - 1, "w")
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    await run_busy(semaphore, clock, 2, "w")
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]


async def test_another_boot_begins_the_lease_anew(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    clock.epoch, clock.steady = "rebooted", 9000.0
    await run_busy(semaphore, clock, LEASE - 1, "w")
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    await run_busy(semaphore, clock, LEASE + 2, "w")
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]


@pytest.mark.parametrize(("pinned", "limit"), [(True, 2), (False, 1)])
async def test_a_limit_that_is_set_meanwhile_counts_after_the_lease(
    semaphore: StoredSemaphore, clock: FakeClock, pinned: bool, limit: int
) -> None:
    """That of an operator does; what workers declare may stand above his, which was lost."""
    await semaphore.set_limit("k", 2, pinned=pinned)
    wishes = [wish(id, queue=False) for id in ("b", "c", "d")]
    assert await grants(semaphore, *wishes) == [Grant.DENIED] * 3
    await run_busy(semaphore, clock, LEASE + 1, "w")
    found = await grants(semaphore, *wishes)
    assert found == [Grant.GRANTED] * limit + [Grant.DENIED] * (3 - limit)


async def test_an_operator_who_removes_the_limit_leaves_one_until_it_is_declared_again(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    """What workers had declared is lost too, and those that live do not declare it again."""
    wishes = [wish(id, queue=False) for id in ("b", "c", "d")]
    assert await grants(semaphore, *wishes) == [Grant.DENIED] * 3
    await semaphore.set_limit("k", None)
    assert await grants(semaphore, *wishes) == [Grant.DENIED] * 3
    await run_busy(semaphore, clock, LEASE + 1, "w")
    assert await grants(semaphore, *wishes) == [Grant.GRANTED, Grant.DENIED, Grant.DENIED]
    await semaphore.set_limit("k", 2, pinned=False)
    assert await grants(semaphore, *wishes) == [Grant.GRANTED, Grant.GRANTED, Grant.DENIED]
