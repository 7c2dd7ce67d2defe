"""The stored semaphore: who is alive, what an outage does, who wakes, what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import pytest

from support.slow_records import SlowRecords
from support.stores import FakeClock, open_records
from xqueue_core.errors import ConfigError, InvalidTask, Refused, Unavailable
from xqueue_core.permits import Answer, Grant, Keep, Permit, Request
from xqueue_core.stored import semaphore as module
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.permit_rows import LINGER, sweep
from xqueue_core.stored.records import ANY, Change, Group, Records, Scan
from xqueue_core.stored.semaphore import StoredSemaphore

pytestmark = pytest.mark.anyio

LEASE = 15.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite-process"])
async def records(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Records]:
    async with open_records(request.param, tmp_path, clock) as records:
        yield records


@pytest.fixture
def bell() -> LocalBell:
    return LocalBell()


@pytest.fixture
def semaphore(records: Records, bell: LocalBell) -> StoredSemaphore:
    return StoredSemaphore(records, bell, StoredOptions())


def wish(id: str, worker: str = "w", key: str = "k", **more: object) -> Request:
    return Request(id=id, key=key, worker=worker, **more)  # type: ignore[arg-type]


def pass_time(clock: FakeClock, seconds: float) -> None:
    clock.steady += seconds
    clock.wall += seconds


async def ask(semaphore: StoredSemaphore, *requests: Request) -> list[Answer]:
    return list(await semaphore.acquire(requests, 0))


async def grants(semaphore: StoredSemaphore, *requests: Request) -> list[Grant]:
    return [answer.grant for answer in await ask(semaphore, *requests)]


async def renew(
    semaphore: StoredSemaphore, worker: str = "w", *permits: Permit, lease: float = LEASE
) -> list[Keep]:
    return (await semaphore.renew(worker, permits, [], lease)).permits


async def take(semaphore: StoredSemaphore, id: str, worker: str = "w") -> Permit:
    [answer] = await ask(semaphore, wish(id, worker))
    assert answer.grant is Grant.GRANTED
    return Permit(id=id, key="k", token=answer.token)


async def run_busy(
    semaphore: StoredSemaphore, clock: FakeClock, seconds: float, *workers: str
) -> None:
    """Time passes while these workers renew twice a second."""
    for _ in range(int(seconds * 2)):
        pass_time(clock, 0.5)
        for worker in workers:
            await renew(semaphore, worker)


# -- the plain course ----------------------------------------------------------------------------


async def test_one_call_answers_many_requests_over_few_keys_with_one_load_and_one_swap(
    records: Records, bell: LocalBell
) -> None:
    slow = SlowRecords(records)
    semaphore = StoredSemaphore(slow, bell, StoredOptions())
    for key in ("a", "b"):
        await semaphore.set_limit(key, 60)
    await renew(semaphore)
    slow.calls.clear()
    asked = [wish(f"{key}{n}", key=key) for n in range(50) for key in ("a", "b")]
    assert await grants(semaphore, *asked) == [Grant.GRANTED] * 100
    assert slow.calls == {"now": 1, "load": 1, "swap": 1}


async def test_what_needs_no_permit_writes_nothing(records: Records, bell: LocalBell) -> None:
    slow = SlowRecords(records)
    semaphore = StoredSemaphore(slow, bell, StoredOptions())
    await renew(semaphore)
    slow.calls.clear()
    assert await grants(semaphore, wish("a")) == [Grant.FREE]
    assert slow.calls["swap"] == 0


async def test_keys_are_independent_and_answers_in_order(semaphore: StoredSemaphore) -> None:
    await semaphore.set_limit("one", 1)
    await semaphore.set_limit("two", 2)
    asked = [wish(f"{n}{key}", key=key) for n in range(3) for key in ("one", "two", "none")]
    found = await grants(semaphore, *asked)
    g, w, f = Grant.GRANTED, Grant.WAITING, Grant.FREE
    assert found == [g, g, f, w, g, f, w, w, f]


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_1_is_a_typed_error(semaphore: StoredSemaphore, limit: int) -> None:
    for pinned in (True, False):
        with pytest.raises(ConfigError, match="1 or more"):
            await semaphore.set_limit("k", limit, pinned=pinned)
    with pytest.raises(InvalidTask, match="below 1"):
        await ask(semaphore, wish("a", limit=limit))
    assert await grants(semaphore, wish("a")) == [Grant.FREE]


async def test_inspect_shows_limit_holders_and_line(semaphore: StoredSemaphore) -> None:
    await semaphore.set_limit("k", 1)
    await ask(semaphore, wish("a"), wish("b"))
    [known, unknown] = await semaphore.inspect(["k", "none"])
    assert (known.limit, known.pinned, known.holders, known.waiters) == (1, True, {"a": "w"}, ["b"])
    assert (unknown.limit, unknown.version, unknown.holders) == (None, 0, {})


async def test_renew_tells_the_versions_of_all_it_watches(semaphore: StoredSemaphore) -> None:
    await semaphore.set_limit("k", 1)
    first = (await semaphore.renew("w", [], ["k", "none"], LEASE)).versions
    await semaphore.set_limit("k", 2)
    second = (await semaphore.renew("w", [], ["k"], LEASE)).versions
    await semaphore.set_limit("k", None)
    third = (await semaphore.renew("w", [], ["k"], LEASE)).versions
    assert first["none"] == 0
    assert 0 < first["k"] < second["k"]
    assert third == {"k": 0}


async def test_a_damaged_row_is_refused_until_its_limit_is_set_anew(
    records: Records, semaphore: StoredSemaphore
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await records.swap([Group([Change("s/k", ANY, b"\xc1 no MessagePack")])])
    with pytest.raises(Refused, match="set its limit anew"):
        await ask(semaphore, wish("b"))
    renewed = await semaphore.renew("w", [held], ["k", "none"], LEASE)
    assert (renewed.permits, renewed.versions) == ([Keep.LOST], {"none": 0})
    await semaphore.set_limit("k", 1)
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]


# -- life and death ------------------------------------------------------------------------------


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


async def test_a_permit_that_renew_leaves_out_stays_held(
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


# -- waiting -------------------------------------------------------------------------------------


async def wait_in_line(semaphore: StoredSemaphore, id: str, waiting: int) -> None:
    """Until so many wait, and ``id`` is among them."""
    with anyio.fail_after(10):
        while True:
            [info] = await semaphore.inspect(["k"])
            if id in info.waiters and len(info.waiters) == waiting:
                return
            await asyncio.sleep(0.01)


async def test_a_release_wakes_the_first_in_line_and_nobody_else(
    records: Records, bell: LocalBell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 60.0)  # so that only a ring wakes
    monkeypatch.setattr(module, "heartbeat", lambda lease: 60.0)
    line = [SlowRecords(records) for _ in range(3)]
    semaphores = [StoredSemaphore(slow, bell, StoredOptions()) for slow in line]
    holder = StoredSemaphore(records, bell, StoredOptions())
    await holder.set_limit("k", 1)
    held = await take(holder, "a", "holder")
    tasks = []
    for n, semaphore in enumerate(semaphores):
        call = semaphore.acquire([wish(f"r{n}", f"w{n}")], 30)
        tasks.append(asyncio.create_task(call))
        await wait_in_line(holder, f"r{n}", n + 1)
    await asyncio.sleep(0.05)
    before = [sum(slow.calls.values()) for slow in line]
    await holder.release([held])
    with anyio.fail_after(10):
        [answer] = await tasks[0]
    assert answer.grant is Grant.GRANTED
    assert [sum(slow.calls.values()) for slow in line[1:]] == before[1:]
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)


async def test_a_blocked_call_ends_in_time_with_its_place(semaphore: StoredSemaphore) -> None:
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a")
    with anyio.fail_after(10):
        assert await semaphore.acquire([wish("b")], 0.1) == [Answer(Grant.WAITING, place=1)]


async def test_a_call_that_was_answered_does_not_block(semaphore: StoredSemaphore) -> None:
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a")
    with anyio.fail_after(10):
        assert [a.grant for a in await semaphore.acquire([wish("a"), wish("b")], 600)] == [
            Grant.GRANTED,
            Grant.WAITING,
        ]
        [denied] = await semaphore.acquire([wish("c", queue=False)], 600)
    assert denied.grant is Grant.DENIED


async def test_a_cancelled_waiter_is_never_granted_for_long(
    semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    call = semaphore.acquire([wish("gone", "x")], 60)
    task: asyncio.Task[Sequence[Answer]] = asyncio.create_task(call)
    await wait_in_line(semaphore, "gone", 1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await ask(semaphore, wish("next", "y"))
    await semaphore.release([held])
    assert await grants(semaphore, wish("next", "y")) == [Grant.WAITING]
    pass_time(clock, 2.1)
    assert await grants(semaphore, wish("next", "y")) == [Grant.GRANTED]


async def test_withdrawing_leaves_the_line(semaphore: StoredSemaphore) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await ask(semaphore, wish("b", "x"), wish("c", "y"))
    await semaphore.release([Permit(id="b", key="k"), held])
    assert await grants(semaphore, wish("c", "y")) == [Grant.GRANTED]


# -- what is left behind ---------------------------------------------------------------------------


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


# -- many at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("records", ["memory"], indirect=True)  # the same course in each run
@pytest.mark.parametrize("seed", range(12))
async def test_never_above_the_limit_whatever_the_interleaving(
    records: Records, bell: LocalBell, clock: FakeClock, seed: int
) -> None:
    """Workers come, hold, renew, pause and die; what each believes to hold is never too much."""
    rng, limit = random.Random(seed), 3
    believed: dict[str, float] = {}  # request id -> until when its worker may believe it
    most = lost = 0

    async def worker(name: str) -> None:
        nonlocal most, lost
        slow = SlowRecords(records, rng)
        semaphore = StoredSemaphore(slow, bell, StoredOptions(), rng)
        for n in range(25):
            id = f"{name}.{n}"
            sent = clock.steady
            await semaphore.renew(name, [], [], 1.0)
            [answer] = await semaphore.acquire([wish(id, name, lease=1.0)], 0)
            if answer.grant is not Grant.GRANTED:
                await semaphore.release([Permit(id=id, key="k")])
                pass_time(clock, 0.05)
                continue
            permit = Permit(id=id, key="k", token=answer.token)
            for _ in range(rng.randrange(1, 6)):
                believed[id] = sent + 1.0
                most = max(most, sum(until > clock.steady for until in believed.values()))
                assert most <= limit
                pass_time(clock, rng.choice([0.01, 0.02, 0.05]))
                await asyncio.sleep(0)
                if rng.random() < 0.1:  # a pause in which others renew
                    paused = clock.steady
                    while clock.steady < paused + 1.5 and len(asyncio.all_tasks()) > 3:
                        pass_time(clock, 0.01)
                        await asyncio.sleep(0)
                sent = clock.steady
                if await renew(semaphore, name, permit, lease=1.0) == [Keep.LOST]:
                    lost += 1
                    break
            believed.pop(id, None)
            if rng.random() < 0.8:
                await semaphore.release([permit])

    await StoredSemaphore(records, bell, StoredOptions()).set_limit("k", limit)
    with anyio.fail_after(50):
        async with anyio.create_task_group() as group:
            for n in range(8):
                group.start_soon(worker, f"w{n}")
    assert most == limit
    assert lost


async def test_many_processes_change_one_key_and_nothing_is_lost(
    records: Records, bell: LocalBell
) -> None:
    rng = random.Random(1)
    first = StoredSemaphore(records, bell, StoredOptions())
    await first.set_limit("k", 100)
    tokens: list[int] = []

    async def worker(name: str) -> None:
        semaphore = StoredSemaphore(SlowRecords(records, rng), bell, StoredOptions(), rng)
        for n in range(5):
            [answer] = await ask(semaphore, wish(f"{name}.{n}", name))
            tokens.append(answer.token)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for n in range(10):
                group.start_soon(worker, f"w{n}")
    assert len(set(tokens)) == 50
    [info] = await first.inspect(["k"])
    assert len(info.holders) == 50


async def test_a_cut_store_raises_and_the_next_call_works(
    records: Records, bell: LocalBell
) -> None:
    slow = SlowRecords(records)
    semaphore = StoredSemaphore(slow, bell, StoredOptions())
    await semaphore.set_limit("k", 1)
    slow.cut = True
    for call in (ask(semaphore, wish("a")), renew(semaphore)):
        with pytest.raises(Unavailable):
            await call
    slow.cut = False
    assert await grants(semaphore, wish("a")) == [Grant.GRANTED]
