"""Permits that are of no use here: while nothing is fetched, or nothing of their kind can start."""

from __future__ import annotations

import asyncio

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run
from unit.worker.limiting import Limiting
from unit.worker.parts import make_job, settle_down
from xqueue_core.handlers import Kind
from xqueue_core.permits import Keep
from xqueue_core.worker.job import Job


@pytest.mark.parametrize(("lasts", "left"), [(True, 0), (False, 4)])
def test_nothing_is_asked_for_while_nothing_can_be_fetched(lasts: bool, left: int) -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=8))
        await one.renew()
        assert one.held == 4
        calls = len(one.semaphore.calls)
        one.resting, one.shut = lasts, True
        one.limiter.look()
        await one.renew()
        # For a while they may be of use to what a call has taken that has not been answered.
        assert (one.held, len(one.semaphore.calls)) == (left, calls)
        one.resting = one.shut = False
        one.limiter.look()
        await settle_down()
        assert one.held == 4

    run(main())


def test_a_permit_that_becomes_free_while_nothing_can_be_fetched_goes_back() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=1))
        await one.renew()
        job = one.take("1")
        one.shut = True
        await one.end(job)
        assert one.held == 0

    run(main())


def test_a_lane_of_plain_functions_takes_permits_for_free_threads_alone() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=8), kinds=(Kind.THREAD,), concurrency=10)
        one.desk.take(make_job("1", "plain"))  # of two threads
        await one.renew()
        assert one.held == 1
        one.desk.take(make_job("2", "plain"))
        one.limiter.trim()
        await one.renew()
        assert one.held == 1
        one.semaphore.verdicts = dict.fromkeys(one.semaphore.holders["lane:job"], Keep.YIELD)
        await one.renew()
        assert one.held == 0

    run(main())


def test_a_permit_that_was_yielded_unused_is_not_asked_for_until_something_has_ended() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=1))
        running = [make_job(str(n), "plain") for n in range(4)]
        for job in running:
            one.desk.take(job)
            job.started = 1.0
        await one.renew()
        assert one.held == 1  # below its share of the slots
        one.semaphore.verdicts = dict.fromkeys(one.semaphore.holders["lane:job"], Keep.YIELD)
        await one.renew()
        await one.renew()
        assert one.held == 0
        one.semaphore.verdicts = {}
        one.desk.leave(running[0])
        one.desk.take(make_job("next", "plain"))
        one.limiter.ended(running[0])
        await settle_down()
        assert one.held == 1

    run(main())


def test_a_renewal_tells_for_how_long_nothing_has_run_under_each_permit() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        waits, runs, ends = one.take("waits"), one.take("runs"), one.take("ends")
        runs.started = ends.started = one.tools.clock()
        await asyncio.sleep(2.0)
        await one.end(ends)
        await asyncio.sleep(1.0)
        await one.renew()
        told = {job.id: one.semaphore.idle[_permit(job)] for job in (waits, runs)}
        assert told == {"job:waits": pytest.approx(3.0, abs=0.1), "job:runs": 0.0}
        [idle] = set(one.semaphore.idle) - {_permit(waits), _permit(runs)}
        assert one.semaphore.idle[idle] == pytest.approx(1.0, abs=0.1)

    run(main())


def _permit(job: Job) -> str:
    assert job.permit is not None
    return job.permit.permit.id
