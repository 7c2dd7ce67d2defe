"""Who is alive to the stored semaphore, what an outage does, and what is left behind."""

from __future__ import annotations

import pytest

from support.asking import LEASE, ask, grants, pass_time, renew, run_busy, take, wish
from support.slow_records import SlowRecords
from support.stores import FakeClock
from xqueue_core.permits import Answer, Grant, Keep, Permit
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.permit_rows import LINGER, sweep
from xqueue_core.stored.records import Records, Scan
from xqueue_core.stored.semaphore import StoredSemaphore

pytestmark = pytest.mark.anyio


async def test_a_dead_workers_permit_is_free_after_its_lease_while_others_renew(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    dead = await take(semaphore, "a", "dead")
    await run_busy(semaphore, clock, LEASE, "w")
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    await run_busy(semaphore, clock, 1, "w")
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]
    assert await renew(semaphore, "dead", dead) == [Keep.LOST]


async def test_an_expired_permit_never_returns_though_nobody_wanted_it(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a", "paused")
    await run_busy(semaphore, clock, LEASE + 1, "w")
    for _ in range(3):
        assert await renew(semaphore, "paused", held) == [Keep.LOST]
    await semaphore.release([held])
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]


async def test_who_is_dead_is_not_shown_though_nobody_asks(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a", "dead")
    await ask(semaphore, wish("b", "dead"))
    pass_time(clock, LEASE + 1)
    [info] = await semaphore.inspect(["k"])
    assert (info.holders, info.waiters) == ({"a": "dead"}, ["b"])  # nobody could renew
    await run_busy(semaphore, clock, LEASE + 1, "w")
    [info] = await semaphore.inspect(["k"])
    assert (info.holders, info.waiters) == ({}, [])


async def test_asking_again_after_expiry_is_a_new_wish(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    old = await take(semaphore, "a", "paused")
    await run_busy(semaphore, clock, LEASE + 1, "w")
    new = await take(semaphore, "a", "paused")
    assert new.token > old.token
    assert await renew(semaphore, "paused", old, new) == [Keep.LOST, Keep.KEPT]


async def test_a_new_permit_outlives_the_wait_for_its_workers_first_renewal(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    await run_busy(semaphore, clock, 60, "other")
    held = await take(semaphore, "a", "new")
    await run_busy(semaphore, clock, LEASE - 1, "other")
    assert await grants(semaphore, wish("b", "other")) == [Grant.WAITING]
    assert await renew(semaphore, "new", held) == [Keep.KEPT]


async def test_a_permit_that_renew_leaves_out_stays_held_while_nobody_wants_it(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await run_busy(semaphore, clock, 3 * LEASE, "w")
    assert await renew(semaphore, "w", held) == [Keep.KEPT]


async def test_wrong_owner_and_wrong_token_are_lost(semaphore: StoredSemaphore) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    forged = Permit(id="a", key="k", token=held.token + 1)
    assert await renew(semaphore, "other", held) == [Keep.LOST]
    assert await renew(semaphore, "w", forged, held) == [Keep.LOST, Keep.KEPT]


async def test_an_outage_of_twice_the_lease_frees_no_living_workers_permit(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 2)
    held = [await take(semaphore, f"{n}", f"w{n}") for n in range(2)]
    await run_busy(semaphore, clock, 2, "w0", "w1")
    pass_time(clock, 2 * LEASE)
    # First contact is somebody who wants a permit, then one worker, then the other.
    assert await grants(semaphore, wish("c", "eager")) == [Grant.WAITING]
    assert await renew(semaphore, "w0", held[0]) == [Keep.KEPT]
    await run_busy(semaphore, clock, LEASE - 1, "w0", "eager")
    assert await grants(semaphore, wish("c", "eager")) == [Grant.WAITING]
    assert await renew(semaphore, "w1", held[1]) == [Keep.KEPT]


async def test_after_an_outage_the_dead_free_their_permits_a_lease_after_first_contact(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    dead = await take(semaphore, "a", "dead")
    pass_time(clock, 2 * LEASE)
    await run_busy(semaphore, clock, LEASE, "w")
    assert await grants(semaphore, wish("b")) == [Grant.WAITING]
    await run_busy(semaphore, clock, 1, "w")
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]
    assert await renew(semaphore, "dead", dead) == [Keep.LOST]


async def test_a_new_epoch_of_the_stores_clock_counts_as_an_outage(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 2)
    alive, dead = await take(semaphore, "a", "alive"), await take(semaphore, "b", "dead")
    await run_busy(semaphore, clock, 2, "alive", "dead")
    clock.epoch, clock.steady = "rebooted", 3.0
    another = wish("c", queue=False)
    assert await grants(semaphore, another) == [Grant.DENIED]
    await run_busy(semaphore, clock, LEASE - 1, "w")
    assert await renew(semaphore, "alive", alive) == [Keep.KEPT]
    await run_busy(semaphore, clock, 2, "w", "alive")
    assert await grants(semaphore, another) == [Grant.GRANTED]
    assert await renew(semaphore, "dead", dead) == [Keep.LOST]


async def test_all_holders_die_and_nobody_renews_yet_the_waiter_gets_its_turn(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a", "dead")
    waited = 0.0
    while await grants(semaphore, wish("b")) != [Grant.GRANTED]:
        pass_time(clock, 0.5)
        waited += 0.5
        assert waited < LEASE + 5
    assert waited >= LEASE


async def test_a_renewal_that_comes_too_late_while_it_is_under_way_is_told_so(
    records: Records, bell: LocalBell, semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    slow = SlowRecords(records)
    late = StoredSemaphore(slow, bell, StoredOptions())
    await semaphore.set_limit("k", 1)
    held = await take(late, "a", "late")
    await run_busy(semaphore, clock, LEASE, "w")

    async def meanwhile() -> None:
        await run_busy(semaphore, clock, 1, "w")
        assert await grants(semaphore, wish("b")) == [Grant.GRANTED]

    slow.before_swap = meanwhile
    assert await renew(late, "late", held) == [Keep.LOST]


async def test_who_returns_while_it_is_declared_dead_keeps_what_it_gets_then(
    records: Records, bell: LocalBell, semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    slow = SlowRecords(records)
    judge = StoredSemaphore(slow, bell, StoredOptions())
    await semaphore.set_limit("k", 1)
    await semaphore.set_limit("j", 1)
    held = await take(semaphore, "a", "late")
    await run_busy(semaphore, clock, LEASE + 1, "w")

    async def meanwhile() -> None:
        assert await renew(semaphore, "late", held) == [Keep.LOST]
        assert await grants(semaphore, wish("new", "late", "j")) == [Grant.GRANTED]

    slow.before_swap = meanwhile
    await ask(judge, wish("b"))
    assert await grants(semaphore, wish("c", "w", "j", queue=False)) == [Grant.DENIED]


async def test_a_dead_waiter_does_not_hold_up_the_line(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await ask(semaphore, wish("b", "dead"))
    await run_busy(semaphore, clock, LEASE + 1, "w", "x")
    assert await ask(semaphore, wish("c", "x")) == [Answer(Grant.WAITING, place=1)]
    await semaphore.release([held])
    assert await grants(semaphore, wish("c", "x")) == [Grant.GRANTED]


# -- what is left behind ----------------------------------------------------------------------


async def test_idle_keys_and_dead_registrations_are_removed(
    records: Records, semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    for n in range(20):
        [answer] = await ask(semaphore, wish(f"{n}", "old", f"k{n}", limit=1, stamp=1.0))
        await semaphore.release([Permit(id=f"{n}", key=f"k{n}", token=answer.token)])
    await semaphore.set_limit("kept", 1, pinned=False)
    await run_busy(semaphore, clock, LEASE + 1, "w")
    await sweep(records)  # declares dead
    await run_busy(semaphore, clock, LINGER + 1, "w")
    await sweep(records)
    rows = await records.load([f"s/k{n}" for n in range(20)])
    assert rows == [None] * 20
    [kept, old, own] = await records.load(["s/kept", "permits/old", "permits/w"])
    assert kept is not None
    assert own is not None
    assert old is None
    assert await records.scan([Scan("permits-idle", 9), Scan("permits-dead", 9)]) == [[], []]


async def test_a_key_in_use_is_not_swept(
    records: Records, semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    first = await ask(semaphore, wish("a", limit=1, stamp=1.0))
    await semaphore.release([Permit(id="a", key="k", token=first[0].token)])
    await ask(semaphore, wish("b"))
    await run_busy(semaphore, clock, LINGER + 1, "w")
    await sweep(records)
    assert await grants(semaphore, wish("c", queue=False)) == [Grant.DENIED]


async def test_the_mark_follows_the_largest_lease_that_is_left(
    records: Records, semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await renew(semaphore, "long", lease=60.0)
    for _ in range(130):
        pass_time(clock, 0.5)
        await renew(semaphore, "w", lease=5.0)
    await sweep(records)
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a", "dead")
    pass_time(clock, 30)
    for _ in range(16):  # an outage: a grace of 5 s, not of 60 s; then the dead one's lease
        pass_time(clock, 0.5)
        await renew(semaphore, "w", lease=5.0)
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]


# -- until when permits last, for operators ----------------------------------------------------


async def test_inspect_tells_when_permits_expire_if_their_workers_died_now(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 2)
    early = await take(semaphore, "a", "early")
    await renew(semaphore, "early", early)
    await run_busy(semaphore, clock, 4, "w")
    await take(semaphore, "b", "late")
    [info] = await semaphore.inspect(["k"])
    assert info.expires_in == {"a": pytest.approx(LEASE - 4), "b": pytest.approx(LEASE)}
    await run_busy(semaphore, clock, info.expires_in["a"], "w", "late")
    assert (await semaphore.inspect(["k"]))[0].holders == {"a": "early", "b": "late"}
    await run_busy(semaphore, clock, 1, "w", "late")
    assert (await semaphore.inspect(["k"]))[0].holders == {"b": "late"}


async def test_after_an_outage_permits_last_for_a_whole_lease(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    await renew(semaphore, "w", await take(semaphore, "a"))
    pass_time(clock, 3 * LEASE)
    [info] = await semaphore.inspect(["k"])
    assert info.expires_in == {"a": pytest.approx(LEASE)}
    clock.epoch = "another"
    [info] = await semaphore.inspect(["k"])
    assert info.expires_in == {"a": pytest.approx(LEASE)}
