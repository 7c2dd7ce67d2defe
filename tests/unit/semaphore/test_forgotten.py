"""Permits that their living worker knows nothing of."""

from __future__ import annotations

import pytest

from support.asking import LEASE, ask, grants, pass_time, renew, take, wish
from support.slow_records import SlowRecords
from support.stores import FakeClock
from xqueue_core.errors import Unavailable
from xqueue_core.permits import Keep, Permit
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.doubts import UNDER_WAY
from xqueue_core.stored.layout import unpack
from xqueue_core.stored.leases import Registration
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import Records
from xqueue_core.stored.semaphore import StoredSemaphore

pytestmark = pytest.mark.anyio

#: More than it takes for a permit to become old.
OLD = LEASE + 1


async def live(
    semaphore: StoredSemaphore,
    clock: FakeClock,
    seconds: float,
    *held: Permit,
    worker: str = "w",
    lease: float = LEASE,
) -> None:
    """Time passes while ``worker`` renews these, and another one wants a permit."""
    for _ in range(int(seconds * 2)):
        pass_time(clock, 0.5)
        assert await renew(semaphore, worker, *held, lease=lease) == [Keep.KEPT] * len(held)
        await grants(semaphore, wish("wants", "other", queue=False))


async def test_a_permit_that_no_renewal_names_expires_a_lease_after_the_first(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 2)
    known, leaked = await take(semaphore, "known"), await take(semaphore, "leaked")
    await live(semaphore, clock, OLD + LEASE, known)
    assert (await semaphore.inspect(["k"]))[0].holders.keys() == {"known", "leaked"}
    await live(semaphore, clock, 2, known)
    assert (await semaphore.inspect(["k"]))[0].holders.keys() == {"known", "wants"}
    assert await renew(semaphore, "w", known, leaked) == [Keep.KEPT, Keep.LOST]


async def test_it_expires_though_it_is_only_looked_at(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    """Tasks that wait for their key wait in the queue: nobody asks until one seems free."""
    await semaphore.set_limit("k", 1)
    await take(semaphore, "leaked")
    seen = set()
    for _ in range(int((OLD + LEASE) * 2) + 4):
        pass_time(clock, 0.5)
        await renew(semaphore, "w")
        seen.add(len((await semaphore.inspect(["k"]))[0].holders))
    assert (len((await semaphore.inspect(["k"]))[0].holders), seen) == (0, {0, 1})


async def test_one_renewal_a_lease_that_names_it_keeps_it(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    for _ in range(6):
        await live(semaphore, clock, LEASE - 1)
        await live(semaphore, clock, 0.5, held)


async def test_a_short_lease_leaves_time_for_an_answer_that_is_under_way(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    [answer] = await ask(semaphore, wish("late", lease=2.0))
    await live(semaphore, clock, UNDER_WAY, lease=2.0)
    await live(semaphore, clock, 1, Permit("late", "k", answer.token), lease=2.0)


@pytest.mark.parametrize("pause", [LEASE / 2, 3 * LEASE])
async def test_neither_pause_nor_outage_expires_anything(
    semaphore: StoredSemaphore, clock: FakeClock, pause: float
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await live(semaphore, clock, OLD + LEASE - 2)
    pass_time(clock, pause)
    await live(semaphore, clock, LEASE - 1)
    await live(semaphore, clock, 1, held)


async def test_another_boot_expires_nothing(semaphore: StoredSemaphore, clock: FakeClock) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await live(semaphore, clock, OLD + LEASE - 2)
    clock.epoch, clock.steady = "rebooted", 3000.0
    await live(semaphore, clock, LEASE - 1)
    await live(semaphore, clock, 1, held)


async def test_who_asks_for_it_again_has_it_as_new(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    """The reply was lost, and every one since."""
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    for _ in range(4):
        await live(semaphore, clock, LEASE - 1)
        assert await take(semaphore, "a") == held
    await live(semaphore, clock, 1, held)


async def test_a_wish_for_what_is_over_is_a_new_one(
    records: Records, bell: LocalBell, semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    """Its permit has expired, and the renewal that was to take it back failed half-way."""
    slow = SlowRecords(records)
    renewing = StoredSemaphore(slow, bell, StoredOptions())
    await semaphore.set_limit("k", 1)
    old = await take(semaphore, "a")
    await live(semaphore, clock, OLD + LEASE - 1)

    async def fail() -> None:
        raise Unavailable("away")

    async def then_fail() -> None:
        slow.before_swap = fail

    async def until_it_is_over() -> None:
        for _ in range(10):
            pass_time(clock, 0.5)
            slow.before_swap = then_fail
            await renew(renewing, "w")

    with pytest.raises(Unavailable):
        await until_it_is_over()
    assert (await semaphore.inspect(["k"]))[0].holders == {"a": "w"}
    new = await take(semaphore, "a")
    assert new.token > old.token
    assert await renew(semaphore, "w", old, new) == [Keep.LOST, Keep.KEPT]


async def test_it_costs_no_write_while_permits_are_young_and_one_a_lease_when_they_are_old(
    records: Records, bell: LocalBell, clock: FakeClock
) -> None:
    slow = SlowRecords(records)
    asking = StoredSemaphore(slow, bell, StoredOptions())
    renewing = StoredSemaphore(records, bell, StoredOptions())
    await renewing.set_limit("k", 1)
    held = await take(renewing, "a")
    await ask(asking, wish("wants", "other", queue=False))
    swaps = []
    for _ in range(12):
        slow.calls.clear()
        for _ in range(int(LEASE)):
            pass_time(clock, 0.5)
            await renew(renewing, "w", held)
            await renew(renewing, "other")
            await ask(asking, wish("wants", "other", queue=False))
        swaps.append(slow.calls["swap"])
    assert swaps[:2] == [0, 0]
    assert sum(swaps) <= 5


async def test_a_clock_that_is_set_back_delays_it_by_nothing(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    await take(semaphore, "leaked")
    clock.wall -= 3600.0
    await live(semaphore, clock, OLD + LEASE + 2)
    assert (await semaphore.inspect(["k"]))[0].holders.keys() == {"wants"}


async def test_permits_that_were_granted_together_are_young(
    records: Records, semaphore: StoredSemaphore
) -> None:
    """Their tokens are microseconds, each one more than the last: ahead of the clock."""
    await semaphore.set_limit("k", 9)
    await renew(semaphore)
    await ask(semaphore, *(wish(f"{n}") for n in range(9)))
    await grants(semaphore, wish("wants", "other", queue=False))
    [row] = await records.load(["permits/w"])
    own = unpack(row, Registration)
    assert own is not None
    assert own.doubts == {}


async def test_only_what_is_still_there_is_told_to_be_unknown(
    semaphore: StoredSemaphore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    await semaphore.set_limit("k", 2)
    released, _ = await take(semaphore, "released"), await take(semaphore, "leaked")
    await live(semaphore, clock, OLD + 2)
    await semaphore.release([released])
    await live(semaphore, clock, LEASE)
    assert [record.getMessage() for record in caplog.records] == [
        "permit leaked of 'k': its worker does not know of it"
    ]
