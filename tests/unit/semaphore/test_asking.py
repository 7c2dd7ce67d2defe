"""Asking the stored semaphore, waiting in its line, and who wakes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import anyio
import pytest

from support.asking import LEASE, ask, grants, pass_time, renew, take, wish
from support.slow_records import SlowRecords
from support.stores import FakeClock
from xqueue_core.errors import ConfigError, InvalidTask, Unavailable, Unknown
from xqueue_core.permits import Answer, Grant, Permit
from xqueue_core.stored import semaphore as module
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import ANY, Change, Group, Records
from xqueue_core.stored.semaphore import StoredSemaphore

pytestmark = pytest.mark.anyio


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


async def test_a_cancelled_acquire_does_not_go_on_asking(
    records: Records, bell: LocalBell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    slow = SlowRecords(records)
    semaphore = StoredSemaphore(slow, bell, StoredOptions())
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "held")
    before = asyncio.all_tasks()
    waits = asyncio.create_task(semaphore.acquire([wish("waits")], 60.0))
    async with asyncio.timeout(10):
        while slow.calls["load"] < 10:  # it looks again and again
            await asyncio.sleep(0.01)
    waits.cancel()
    await asyncio.wait([waits])
    assert waits.cancelled()
    await semaphore.release([held, Permit("waits", "k")])
    calls = dict(slow.calls)
    await asyncio.sleep(0.1)  # ten more looks
    assert slow.calls == calls
    assert asyncio.all_tasks() == before
    assert not (await semaphore.inspect(["k"]))[0].holders


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


async def test_a_damaged_row_harms_no_other_key(
    records: Records, semaphore: StoredSemaphore
) -> None:
    await semaphore.set_limit("good", 1)
    await records.swap([Group([Change("s/k", ANY, b"\xc1 no MessagePack")])])
    answers = await ask(semaphore, wish("a"), wish("b", key="good"))
    assert [answer.grant for answer in answers] == [Grant.WAITING, Grant.GRANTED]
    await semaphore.release([Permit("a", "k"), Permit("b", "good")])
    assert (await semaphore.inspect(["good"]))[0].holders == {}


# -- waiting --------------------------------------------------------------------------------


async def wait_in_line(semaphore: StoredSemaphore, id: str, waiting: int) -> None:
    """Until so many wait, and ``id`` is among them."""
    with anyio.fail_after(10):
        while True:
            [info] = await semaphore.inspect(["k"])
            if id in info.waiters and len(info.waiters) == waiting:
                return
            await asyncio.sleep(0.01)


async def calls_once_quiet(line: Sequence[SlowRecords]) -> list[int]:
    """How many calls each has made, once none makes any."""
    before, now = [-1], [sum(slow.calls.values()) for slow in line]
    with anyio.fail_after(10):
        while now != before:
            await asyncio.sleep(0.05)
            before, now = now, [sum(slow.calls.values()) for slow in line]
    return now


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
    before = await calls_once_quiet(line)
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


async def test_a_failure_after_a_place_was_taken_does_not_say_that_nothing_happened(
    records: Records, bell: LocalBell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    slow = SlowRecords(records)
    semaphore = StoredSemaphore(slow, bell, StoredOptions())
    await semaphore.set_limit("k", 1)
    await take(semaphore, "held")
    waits = asyncio.create_task(semaphore.acquire([wish("waits", queue=True)], 60.0))
    async with asyncio.timeout(10):
        while slow.calls["load"] < 6:  # it looks again and again
            await asyncio.sleep(0.01)
    slow.cut = True
    with pytest.raises(Unknown):
        await waits
    with pytest.raises(Unavailable):  # this one has recorded nothing
        await semaphore.acquire([wish("other")], 60.0)


async def test_a_failure_after_one_of_two_keys_was_granted_does_not_say_that_nothing_happened(
    records: Records, bell: LocalBell
) -> None:
    slow, other = SlowRecords(records), StoredSemaphore(records, bell, StoredOptions())
    semaphore = StoredSemaphore(slow, bell, StoredOptions())
    for key in ("one", "two"):
        await semaphore.set_limit(key, 5)
    await renew(semaphore)

    async def meanwhile() -> None:
        await grants(other, wish("theirs", key="two"))
        slow.cut = True

    slow.before_swap = meanwhile
    with pytest.raises(Unknown):
        await grants(semaphore, wish("a", key="one"), wish("b", key="two"))
    assert set((await other.inspect(["one"]))[0].holders) == {"a"}
