"""Lanes' limits: what is fetched ahead, who is left out, and what a pause or an end does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run
from unit.worker.limiting import Late, Limiting
from unit.worker.parts import make_job, settle_down
from xqueue_core.errors import Refused, Unknown
from xqueue_core.permits import Answer, Request
from xqueue_core.worker.lane import UNLIMITED


def test_tasks_are_fetched_ahead_for_the_permits_in_use() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3), concurrency=3, prefetch=2)
        await one.renew()
        running = [one.take(str(n)) for n in range(3)]
        assert one.limiter.allowance("job") == 2
        ahead = [make_job(f"ahead{n}") for n in range(3)]
        kept = []
        for job in ahead:
            one.desk.take(job)
            kept.append(one.limiter.keep(job))
        assert kept == [True, True, False]
        # Neither more, nor to be told once more that there is work.
        assert one.limiter.allowance("job") is None
        permit = running[0].permit
        await one.end(running[0])
        assert one.entered == ahead[:1]
        assert ahead[0].permit is permit
        assert one.limiter.withdraw(ahead[1])
        assert not one.limiter.withdraw(ahead[1])
        await one.end(running[1])
        assert one.entered == ahead[:1]

    run(main())


def test_what_was_fetched_ahead_goes_back_when_no_permit_is_in_use_here() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=1), prefetch=2)
        await one.renew()
        job, ahead = one.take("a"), make_job("ahead")
        one.desk.take(ahead)
        assert one.limiter.keep(ahead)
        assert job.permit is not None
        job.permit.yielding = True
        await one.end(job)
        assert (one.entered, one.refused) == ([], [ahead])

    run(main())


def test_what_was_fetched_ahead_starts_when_the_limit_is_removed() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=1), prefetch=2)
        await one.renew()
        one.take("a")
        ahead = make_job("ahead")
        one.desk.take(ahead)
        assert one.limiter.keep(ahead)
        one.semaphore.limit("lane:job", None)
        await one.renew()
        assert one.entered == [ahead]
        assert ahead.permit is None

    run(main())


def test_lanes_share_what_is_fetched_ahead() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=2, plain=2), prefetch=3)
        await one.renew()
        for n in range(2):
            one.take(f"job{n}")
            job = make_job(f"plain{n}", "plain")
            one.desk.take(job)
            assert one.limiter.take(job)
        assert [one.limiter.allowance(lane) for lane in ("job", "plain")] == [2, 1]

    run(main())


def test_a_paused_lane_holds_no_idle_permit_and_stands_in_no_line() -> None:
    """The semaphore may live in another broker, which knows of no pause."""

    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        job = one.take("a")
        one.limiter.paused(["job"])
        await settle_down()
        assert (one.held, one.limiter.allowance("job")) == (1, None)
        await one.end(job)
        assert one.held == 0
        one.limiter.paused([])
        await settle_down()
        assert (one.held, one.limiter.allowance("job")) == (3, 3)

    run(main())


def test_the_end_of_the_worker_withdraws_what_a_call_under_way_may_have_been_granted() -> None:
    async def main() -> None:
        one = Limiting(Late(job=3))
        await one.renew()
        asking = one.tasks[0]
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await settle_down()
        assert one.semaphore.calls  # it took effect all the same
        assert one.held == 0

    run(main())


class _HalfWay(Unknown):
    answered = True


class _Choosy(FakeSemaphore):
    """Does not like one lane."""

    error: Exception = Refused("no such key")

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        if any(request.key == "lane:plain" for request in requests):
            self.calls.append(list(requests))
            raise self.error
        return await super().acquire(requests, wait)


@pytest.mark.parametrize("error", [Refused("no such key"), _HalfWay("half way")])
def test_a_lane_that_the_semaphore_refuses_holds_up_no_other(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def main() -> None:
        one = Limiting(_Choosy(job=2, plain=2))
        one.semaphore.error = error  # type: ignore[attr-defined]
        await one.renew()
        assert one.limiter.allowance("job") == 2
        for _ in range(60):
            job = one.take("a")
            await asyncio.sleep(0.5)
            await one.end(job)
            await one.renew()
        refused = [call for call in one.semaphore.calls if call[-1].key == "lane:plain"]
        assert 6 <= len(refused) <= 16, "it is tried again now and then"
        assert len([one for one in caplog.records if "'plain' gets no permits" in one.message]) == 1

    run(main())


def test_a_limit_found_removed_by_asking_lets_nothing_start_before_the_next_renewal() -> None:
    """It may have been lost with all of the semaphore's data, and will be declared again."""

    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        one.semaphore.limits.clear()  # behind the version, which is still told
        await one.renew()
        assert one.limiter.allowance("job") is None
        one.semaphore.limit("lane:job", None)
        await one.renew()
        assert one.limiter.allowance("job") == UNLIMITED

    run(main())
