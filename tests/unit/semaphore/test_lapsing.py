"""A process that stands still between the rounds of one call, beyond its lease."""

from __future__ import annotations

import pytest

from support.asking import ask, grants, pass_time, renew, wish
from support.queues import Meddled
from support.stores import FakeClock
from xqueue_core.permits import Grant
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import Records
from xqueue_core.stored.semaphore import StoredSemaphore

pytestmark = pytest.mark.anyio


async def test_what_was_granted_before_its_lease_ran_out_is_not_answered_after_it(
    records: Records, semaphore: StoredSemaphore, clock: FakeClock
) -> None:
    meddled = Meddled(records)
    slow = StoredSemaphore(meddled, LocalBell(), StoredOptions())
    for key in ("one", "two"):
        await semaphore.set_limit(key, 1)
    for worker in ("a", "b"):
        await renew(semaphore, worker)

    async def conflict() -> None:
        """So that its second key takes another round; it dies soon."""
        await ask(semaphore, wish("c", "c", "two", queue=False))

    async def stand_still() -> None:
        for _ in range(20):
            pass_time(clock, 1.0)
            await renew(semaphore, "b")
        assert await grants(semaphore, wish("b", "b", "one")) == [Grant.GRANTED]
        await renew(semaphore, "a")  # its renewals are the first to go on

    meddled.before("swap", conflict)
    meddled.before("now", stand_still, nth=2)
    wishes = [wish(f"a/{key}", "a", key, queue=False) for key in ("one", "two")]
    assert await grants(slow, *wishes) == [Grant.DENIED, Grant.GRANTED]
    assert not meddled.waiting
    infos = await semaphore.inspect(["one", "two"])
    assert [info.holders for info in infos] == [{"b": "b"}, {"a/two": "a"}]
