"""Renewing permits: what is counted, what is told, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run
from unit.worker.parts import settle_down
from unit.worker.renewing import Renewing
from xqueue_core.errors import Unknown
from xqueue_core.permits import Answer, Keep, Permit, Renewed, Request
from xqueue_core.worker.job import Recall


def test_what_ran_before_the_limit_is_counted_until_it_ends() -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore())
        await one.renew()
        jobs = [one.runs(str(n)) for n in range(3)]
        one.semaphore.limit("lane:job", 1)
        await one.renew()
        assert one.recalled == [Recall("limited", lane="job")]
        permits = {job.permit.permit.id for job in jobs if job.permit}
        assert len(permits) == 3
        assert one.counted() >= permits
        for job in jobs:
            await one.end(job)
        assert not one.counted() & permits

    run(main())


def test_a_limit_removed_and_set_again_between_two_renewals_leaves_nothing_uncounted() -> None:
    """The answers said that none was needed; the next renewal sees another limit already."""

    async def main() -> None:
        one = Renewing(FakeSemaphore())
        await one.renew()
        job = one.runs("a")
        one.semaphore.limit("lane:job", 1)
        limits, one.semaphore.limits = one.semaphore.limits, {}
        await one.renew()  # it saw the limit, which was removed before it registered
        assert not one.counted()
        one.semaphore.limits = limits
        one.semaphore.limit("lane:job", 2)
        await one.renew()
        assert job.permit
        assert job.permit.permit.id in one.counted()

    run(main())


def test_what_runs_on_without_its_permit_is_counted_again() -> None:
    """As after damage to a lane's row, or when its semaphore lost its data."""

    async def main() -> None:
        one = Renewing(FakeSemaphore(job=3))
        await one.renew()
        running, waiting = one.takes("runs"), one.takes("waits")
        waiting.started = 0.0
        assert running.permit
        lost = running.permit
        held = one.semaphore.holders.pop("lane:job")
        one.semaphore.verdicts = dict.fromkeys(held, Keep.LOST)
        await one.renew()
        # What had not started never will; what runs counts, and serves nothing else.
        assert one.recalled[1:] == [Recall("permit", job=waiting)]
        assert lost.lost
        assert running.permit is not lost
        assert running.permit.permit.id in one.counted()
        one.semaphore.verdicts = {}
        again = running.permit.permit.id
        await one.end(running)
        assert again not in one.counted()

    run(main())


def test_a_keys_task_that_runs_on_without_its_permit_is_counted_again() -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore())
        await one.renew()
        job = one.runs("a", key="k", key_limit=1)
        one.keys.admit(job)
        await settle_down()
        assert one.started == [job]
        assert job.key_permit is not None
        one.semaphore.holders.clear()
        one.semaphore.verdicts = {job.key_permit.permit.id: Keep.LOST}
        await one.renew()
        assert one.counted("key:job:k") == {job.key_permit.permit.id}
        [again] = one.semaphore.calls[-1]
        assert (again.running, again.limit) == (True, 1)
        await one.end(job)
        await asyncio.sleep(0.1)
        assert one.counted("key:job:k") == set()

    run(main())


class _Slow(FakeSemaphore):
    """Registering takes effect, and its reply is late."""

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        answers = await super().acquire(requests, wait)
        if any(request.running for request in requests):
            await asyncio.sleep(60)
        return answers


@pytest.mark.parametrize("cancelled", [True, False])
def test_registering_that_is_cut_off_leaks_no_permit(cancelled: bool) -> None:
    async def main() -> None:
        one = Renewing(_Slow())
        await one.renew()
        one.runs("a")
        one.semaphore.limit("lane:job", 1)
        renewing = asyncio.create_task(one.renewal.renew())
        await asyncio.sleep(1)
        assert one.counted()
        if cancelled:
            renewing.cancel()
        [error] = await asyncio.gather(renewing, return_exceptions=True)
        assert isinstance(error, asyncio.CancelledError if cancelled else Unknown)
        await settle_down()
        assert not one.counted()

    run(main())


class _Hanging(FakeSemaphore):
    """Renewing hangs when told to."""

    hangs = False

    async def renew(
        self,
        worker: str,
        permits: Sequence[Permit],
        watch: Sequence[str],
        lease: float,
        heartbeat: float = 0.0,
    ) -> Renewed:
        if self.hangs:
            await asyncio.sleep(1e6)
        return await super().renew(worker, permits, watch, lease, heartbeat)


def test_a_renewal_that_hangs_does_not_cost_the_permits() -> None:
    async def main() -> None:
        one = Renewing(_Hanging(job=3))
        await one.renew()
        assert isinstance(one.semaphore, _Hanging)
        one.semaphore.hangs = True
        with pytest.raises(Unknown, match="did not answer within 3 s"):
            await one.renewal.renew()
        one.semaphore.hangs = False
        assert one.permits.fresh()
        await one.renew()
        assert one.limiter.allowance("job") == 3

    run(main())
