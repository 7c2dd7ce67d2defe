"""Permits of lanes."""

from __future__ import annotations

import asyncio
from collections import deque

from support.fake_semaphore import FakeSemaphore
from support.virtual import run
from unit.worker.limiting import Late, Limiting
from unit.worker.parts import OPTIONS, make_job, settle_down
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.permits import Keep, Permit
from xqueue_core.worker.lane import UNLIMITED


def test_a_lane_without_a_limit_costs_no_permit() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore())
        await one.limiter.declare()
        assert one.semaphore.declared == {"lane:job": 3, "kept": 1}
        assert await one.renew() == []
        assert one.limiter.allowance("job") == UNLIMITED
        assert one.semaphore.calls == []

    run(main())


def test_permits_come_before_tasks_and_serve_one_after_the_other() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        assert one.limiter.allowance("job") == UNLIMITED  # nobody has looked yet
        assert await one.renew() == ["job"]
        assert (one.held, one.limiter.allowance("job")) == (3, 3)
        jobs = [one.take(str(n)) for n in range(3)]
        assert not one.limiter.take(make_job("fourth"))
        one.limiter.leased("job", 3, 3, full=False)
        await settle_down()
        await one.end(jobs[0])
        assert (one.held, one.limiter.allowance("job")) == (3, 1)
        one.take("next")
        assert one.semaphore.holders["lane:job"].keys() == {f"w~1:{n}" for n in (1, 2, 3)}

    run(main())


def test_what_has_no_work_goes_back_and_comes_again_when_there_is() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        job = one.take("a")
        one.limiter.leased("job", 3, 1, full=False)
        await settle_down()
        # Where many workers take, a short answer does not mean that nothing is left.
        assert (one.held, one.limiter.allowance("job")) == (3, 2)
        one.limiter.leased("job", 2, 0, full=False)
        await settle_down()
        assert (one.held, one.limiter.allowance("job")) == (1, 0)
        await one.end(job)
        assert one.held == 0
        calls = len(one.semaphore.calls)
        await asyncio.sleep(60)
        assert len(one.semaphore.calls) == calls
        await one.renew()
        one.limiter.ready(["job"])
        await settle_down()
        assert one.limiter.allowance("job") == 3

    run(main())


def test_an_answer_that_was_full_says_nothing_about_the_lane() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        one.limiter.leased("job", 3, 1, full=True)
        await settle_down()
        assert one.limiter.allowance("job") == 3

    run(main())


def test_one_stands_in_line_where_the_lane_is_saturated() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=1))
        one.semaphore.holders["lane:job"]["other"] = "w~2"
        await one.renew()
        assert one.limiter.allowance("job") is None
        assert one.semaphore.line["lane:job"] == ["w~1:1"]
        await asyncio.sleep(20)
        assert one.semaphore.line["lane:job"] == ["w~1:1"]
        assert all(len(call) == 1 for call in one.semaphore.calls[1:])
        await one.semaphore.release([Permit(id="other", key="lane:job")])
        await one.renew()
        assert one.limiter.allowance("job") == 1

    run(main())


def test_the_line_is_left_when_slots_are_taken() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=1), concurrency=2)
        one.semaphore.holders["lane:job"]["other"] = "w~2"
        await one.renew()
        assert one.semaphore.line["lane:job"]
        others = [make_job(str(n), "plain") for n in range(3)]
        for job in others[:2]:
            one.desk.take(job)
        one.limiter.ready([])
        await settle_down()
        # Below its share of the slots the lane keeps its place all the same.
        assert one.semaphore.line["lane:job"]
        one.limiter.close()
        await settle_down()
        assert not one.semaphore.line["lane:job"]

    run(main())


def test_a_reply_that_is_lost_leaks_no_permit() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        one.semaphore.lose["acquire"] = deque([Unknown("no reply"), Unknown("again")])
        await one.renew()
        await asyncio.sleep(5)
        first, second, third = one.semaphore.calls[:3]
        assert [r.id for r in first] == [r.id for r in second] == [r.id for r in third]
        assert (one.held, one.limiter.allowance("job")) == (3, 3)

    run(main())


def test_a_cancelled_call_that_takes_effect_late_leaks_no_permit() -> None:
    async def main() -> None:
        one = Limiting(Late(job=3))
        await one.renew()
        one.limiter.leased("job", 1, 0, full=False)
        await asyncio.sleep(10)
        assert one.held == 0
        assert [len(call) for call in one.semaphore.calls] == [3]

    run(main())


def test_the_end_of_the_worker_leaks_no_permit_asked_for_at_the_last_moment() -> None:
    async def main() -> None:
        one = Limiting(Late(job=3))
        await one.renew()
        for task in one.tasks:
            task.cancel()
        await asyncio.gather(*one.tasks, return_exceptions=True)
        assert one.held == 3
        one.limiter.close()
        await one.permits.flush()
        assert one.held == 0

    run(main())


def test_yield_gives_idle_permits_back_and_lets_tasks_finish() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        job = one.take("a")
        assert job.permit is not None
        one.semaphore.limit("lane:job", 1)
        one.semaphore.verdicts = {f"w~1:{n}": Keep.YIELD for n in (1, 2, 3)}
        await one.renew()
        assert one.held == 1
        assert job.permit.yielding
        one.semaphore.verdicts = {}
        one.limiter.leased("job", 1, 0, full=False)
        await one.end(job)
        assert one.held == 0

    run(main())


def test_a_lost_permit_counts_no_more() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=2))
        await one.renew()
        job = one.take("a")
        one.semaphore.verdicts = {"w~1:1": Keep.LOST, "w~1:2": Keep.LOST}
        await one.renew()
        assert {id for id, _ in one.told} == {"w~1:1", "w~1:2"}
        one.semaphore.holders.clear()
        one.semaphore.verdicts = {}
        await one.end(job)
        await one.renew()
        assert not {"w~1:1", "w~1:2"} & one.semaphore.holders["lane:job"].keys()
        assert "w~1:1" not in one.semaphore.renewals[-1]

    run(main())


def test_permits_that_may_have_expired_lease_nothing() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        assert one.limiter.allowance("job") == 3
        await asyncio.sleep(OPTIONS.lease - OPTIONS.margin + 0.1)
        assert one.limiter.allowance("job") is None
        await one.renew()
        assert one.limiter.allowance("job") == 3

    run(main())


def test_a_limit_that_is_removed_frees_everything() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        job = one.take("a")
        one.semaphore.limit("lane:job", None)
        await one.renew()
        assert one.limiter.allowance("job") == UNLIMITED
        await one.end(job)
        assert one.held == 0

    run(main())


def test_what_ran_before_the_limit_is_registered_above_it() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore())
        await one.renew()
        jobs = [make_job(str(n)) for n in range(3)]
        for job in jobs:
            one.desk.take(job)
        one.semaphore.limit("lane:job", 1)
        assert await one.renew() == ["job"]
        requests = [one.limiter.register(job) for job in jobs]
        assert all(request.running for request in requests)
        answers = await one.semaphore.acquire(requests, 0.0)
        for job, request, answer in zip(jobs, requests, answers, strict=True):
            one.limiter.registered(job, one.permits.granted(request, answer.token, "job"))
        assert one.held >= 3
        for job in jobs:
            one.desk.leave(job)
            one.limiter.freed(job)
        await settle_down()
        assert one.held == 1
        assert not {request.id for request in requests} & one.semaphore.holders["lane:job"].keys()

    run(main())


def test_releases_are_repeated_through_an_outage() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        one.semaphore.fail["release"] = deque([Unavailable("away")] * 3)
        one.limiter.leased("job", 3, 0, full=False)
        await asyncio.sleep(10)
        assert one.held == 0
        assert sum(permit.token > 0 for permit in one.released) == 3

    run(main())


def test_idle_permits_beyond_the_free_slots_go_back() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=3))
        await one.renew()
        for n in range(4):
            one.desk.take(make_job(str(n), "plain"))
        one.limiter.trim()
        await settle_down()
        assert one.limiter.allowance("job") == 1
        assert one.held == 1

    run(main())
