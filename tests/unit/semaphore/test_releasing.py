"""Giving permits back, from rows that are remembered and may have changed since."""

from __future__ import annotations

import pytest

from support.asking import grants, renew, take, wish
from support.slow_records import SlowRecords
from xqueue_core.permits import Grant, Permit
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.permit_sight import _ROWS
from xqueue_core.stored.records import Records
from xqueue_core.stored.semaphore import StoredSemaphore

pytestmark = pytest.mark.anyio


async def test_what_was_just_granted_goes_back_without_reading_it(
    records: Records, bell: LocalBell
) -> None:
    slow = SlowRecords(records)
    semaphore = StoredSemaphore(slow, bell, StoredOptions())
    await semaphore.set_limit("k", 1)
    await renew(semaphore)
    for _ in range(3):
        permit = await take(semaphore, "a")
        slow.calls.clear()
        await semaphore.release([permit])
        assert slow.calls == {"now": 1, "swap": 1}
        assert not (await semaphore.inspect(["k"]))[0].holders


async def test_a_row_that_others_changed_meanwhile_is_read_again(
    records: Records, bell: LocalBell
) -> None:
    ours, theirs = (StoredSemaphore(records, bell, StoredOptions()) for _ in range(2))
    await ours.set_limit("k", 2)
    permit = await take(ours, "a")
    await take(theirs, "b")
    assert await grants(theirs, wish("c")) == [Grant.WAITING]
    await ours.release([permit])
    assert set((await ours.inspect(["k"]))[0].holders) == {"b", "c"}


async def test_a_withdrawal_is_never_answered_by_what_is_remembered(
    records: Records, bell: LocalBell
) -> None:
    """The request was carried out late, behind this process's back."""
    ours, late = (StoredSemaphore(records, bell, StoredOptions()) for _ in range(2))
    await ours.set_limit("k", 2)
    held = await take(ours, "a")
    await take(late, "lost")
    await ours.release([Permit("lost", "k")])
    assert set((await ours.inspect(["k"]))[0].holders) == {"a"}
    await ours.release([held])
    assert not (await ours.inspect(["k"]))[0].holders


async def test_what_is_remembered_is_bounded(records: Records, bell: LocalBell) -> None:
    semaphore = StoredSemaphore(records, bell, StoredOptions())
    wishes = [wish(f"r{n}", key=f"k{n}", limit=1, stamp=1.0) for n in range(_ROWS + 50)]
    for _ in range(2):  # a row that is made is not remembered, one that is changed is
        answers = await semaphore.acquire(wishes, 0.0)
        permits = [
            Permit(one.id, one.key, answer.token)
            for one, answer in zip(wishes, answers, strict=True)
        ]
        assert len(semaphore._store._last._rows) <= _ROWS
        await semaphore.release(permits)
    keys = [one.key for one in wishes]
    assert not any(info.holders for info in await semaphore.inspect(keys))
