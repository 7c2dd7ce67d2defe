"""A semaphore that loses all it has: who waits for whom until what runs is counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run
from unit.worker.parts import OPTIONS, make_job, settle_down
from unit.worker.renewing import Renewing, forget
from xqueue_core.calls import Beat
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.permits import KeyInfo, Permit, Renewed
from xqueue_core.views import WorkerInfo
from xqueue_core.worker.declaring import KEPT
from xqueue_core.worker.lane import UNLIMITED


def test_a_semaphore_that_lost_its_data_is_told_again_before_anything_starts() -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore())
        await one.limiter.declare()
        one.semaphore.limit("lane:job", 3)
        await one.renew()
        job = one.takes("a")
        forget(one.semaphore)
        await one.renew()
        assert one.semaphore.declared == {}  # not all have noticed
        await asyncio.sleep(OPTIONS.heartbeat)
        await one.renew()
        assert one.semaphore.declared == {"lane:job": 3, KEPT: 1}
        one.semaphore.limit("lane:job", 3)
        await one.renew()
        # What others run may not be counted yet: nothing is asked for meanwhile.
        assert job.permit
        assert job.permit.permit.id in one.counted()
        assert (len(one.counted()), one.limiter.allowance("job")) == (1, None)
        await asyncio.sleep(OPTIONS.heartbeat)
        await one.renew()
        assert one.limiter.allowance("job") not in (None, UNLIMITED)

    run(main())


def test_keys_ask_for_nothing_while_others_tell_a_semaphore_that_lost_its_data() -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore())
        await one.limiter.declare()
        await one.renew()
        forget(one.semaphore)
        await one.renew()
        job = make_job("a", key="k", key_limit=1)
        one.desk.take(job)
        one.keys.admit(job)
        await asyncio.sleep(2 * OPTIONS.heartbeat - 0.1)
        assert one.started == []
        await asyncio.sleep(0.3)
        assert one.started == [job]

    run(main())


class Crowd:
    """A view that knows other workers, by what their heartbeats tell."""

    def __init__(self, **counted: int) -> None:
        self.counted = counted
        self.away = False

    async def workers(self) -> list[WorkerInfo]:
        if self.away:
            raise Unavailable("the broker is away")
        return [
            WorkerInfo(
                beat=Beat(worker=f"{name}~1", counted=counted, heartbeat=7.0, lease=40.0),
                seen_ago=1.0,
                alive=name != "dead",
            )
            for name, counted in {**self.counted, "dead": 3}.items()
        ]


async def hushed_for(one: Renewing) -> float:
    """Renew as a worker does, while nothing may be asked for; how long that is."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while one.permits.hushed():
        await asyncio.sleep(OPTIONS.heartbeat / 2)
        await one.renew()
    return loop.time() - begun


def test_who_starts_after_a_loss_waits_for_those_that_have_yet_to_see_it() -> None:
    async def main() -> None:
        crowd = Crowd(fresh=0, behind=5)
        one = Renewing(FakeSemaphore(), crowd)
        for seconds in (0.0, 6.9):
            await asyncio.sleep(seconds)
            with pytest.raises(Unavailable, match="lost its data"):
                await one.limiter.declare()
        assert "lane:job" not in one.semaphore.declared
        await asyncio.sleep(0.2)
        await one.limiter.declare()
        assert one.semaphore.declared == {"lane:job": 3, KEPT: 1}
        await asyncio.sleep(5.0)
        await one.renew()
        crowd.counted["behind"] = one.limiter.counted
        assert 1.8 < await hushed_for(one) < 3.1

    run(main())


def test_nobody_asks_before_all_have_told_that_what_they_run_is_counted() -> None:
    async def main() -> None:
        crowd = Crowd(behind=5)
        one = Renewing(FakeSemaphore(), crowd)
        one.semaphore.limits[KEPT], one.semaphore.versions[KEPT] = 1, 6
        with pytest.raises(Unavailable):
            await one.limiter.declare()
        await asyncio.sleep(7.1)
        await one.limiter.declare()
        for n in range(20):
            crowd.away = n % 2 == 1  # what cannot be asked has told nothing
            await asyncio.sleep(1.0)
            await one.renew()
            assert one.permits.hushed()
        crowd.counted, crowd.away = {"behind": 6}, False
        assert await hushed_for(one) <= 1.5
        crowd.counted = {"behind": 5}  # it is not looked at again
        await one.renew()
        assert not one.permits.hushed()

    run(main())


def test_who_dies_before_it_has_told_may_hold_permits_for_a_heartbeat_more() -> None:
    """It renewed after its last heartbeat: the queue counts it as dead before the semaphore."""

    async def main() -> None:
        crowd = Crowd(behind=5)
        one = Renewing(FakeSemaphore(), crowd)
        one.semaphore.limits[KEPT], one.semaphore.versions[KEPT] = 1, 6
        with pytest.raises(Unavailable):
            await one.limiter.declare()
        await asyncio.sleep(7.1)
        await one.limiter.declare()
        await asyncio.sleep(7.0)
        await one.renew()
        crowd.counted = {}
        assert 7.0 <= await hushed_for(one) <= 9.0

    run(main())


def test_who_cannot_be_reached_by_the_semaphore_is_waited_for_no_longer_than_a_lease() -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore(), Crowd(behind=5))
        with pytest.raises(Unavailable):
            await one.limiter.declare()
        await asyncio.sleep(7.1)
        await one.limiter.declare()
        assert 30.0 < await hushed_for(one) < 35.0

    run(main())


@pytest.mark.parametrize("kept", [None, 6])
def test_who_starts_without_a_loss_waits_for_nobody(kept: int | None) -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore(), Crowd(fresh=0, there=kept or 0))
        if kept:
            one.semaphore.limits[KEPT], one.semaphore.versions[KEPT] = 1, kept
        await one.limiter.declare()
        assert not one.permits.hushed()
        assert one.semaphore.declared["lane:job"] == 3

    run(main())


def test_who_starts_declares_nothing_when_all_is_lost_once_it_has_looked_at_the_others() -> None:
    """It would be granted what they still run, for they have had no time to notice."""

    async def main() -> None:
        semaphore, crowd = FakeSemaphore(), Crowd(there=6)
        semaphore.limits[KEPT], semaphore.versions[KEPT] = 1, 6
        one = Renewing(semaphore, crowd)
        look = crowd.workers

        async def look_in_the_moment_of_a_loss() -> list[WorkerInfo]:
            found = await look()
            if semaphore.versions.get(KEPT) == 6:
                forget(semaphore)
            return found

        crowd.workers = look_in_the_moment_of_a_loss  # type: ignore[method-assign]
        for seconds in (0.0, 0.1, 6.8):
            await asyncio.sleep(seconds)
            with pytest.raises(Unavailable, match="lost its data"):
                await one.limiter.declare()
        assert "lane:job" not in semaphore.declared
        await asyncio.sleep(0.3)
        await one.limiter.declare()
        assert semaphore.declared["lane:job"] == 3
        assert one.permits.hushed()  # nobody has told that what he runs is counted

    run(main())


def test_a_limit_that_is_there_already_is_not_declared() -> None:
    """If all is lost just then, others must notice before it comes back."""

    async def main() -> None:
        one = Renewing(FakeSemaphore(a=1, b=1), lanes={"a": 1, "b": 2, "c": None})
        await one.limiter.declare()
        assert one.semaphore.declared == {"lane:b": 2, KEPT: 1}

    run(main())


def test_a_worker_that_was_stopped_renews_before_it_takes_what_a_lane_is_granted() -> None:
    """Its own runs may be uncounted, and it alone does not know."""

    async def main() -> None:
        one = Renewing(FakeSemaphore())
        one.semaphore.limit("lane:job", 1)
        one.semaphore.holders["lane:job"]["other"] = "other~1"
        await one.renew()
        assert one.semaphore.line["lane:job"]
        await asyncio.sleep(OPTIONS.heartbeat + 0.1)
        await one.semaphore.release([Permit(id="other", key="lane:job")])
        await settle_down()
        assert one.counted() == set()
        assert one.limiter.allowance("job") in (None, 0)
        await one.renew()
        assert len(one.counted()) == 1
        assert one.limiter.allowance("job") == 1

    run(main())


def test_a_worker_tells_that_what_it_runs_is_counted_when_it_is() -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore())
        assert one.limiter.counted == 0
        await one.limiter.declare()
        assert one.limiter.counted == 0
        one.semaphore.limit("lane:job", 3)
        await one.renew()
        old, job = one.limiter.counted, one.takes("a")
        assert old
        forget(one.semaphore)
        one.semaphore.versions[KEPT] = 99
        one.semaphore.limits[KEPT] = 1
        await one.renew()  # no lane has been declared: it is told that no permit is needed
        assert one.counted() == set()
        await asyncio.sleep(OPTIONS.heartbeat)
        one.semaphore.limit("lane:job", 3)
        one.semaphore.fail["acquire"] = deque([Unavailable("for a moment")])
        with pytest.raises(Unavailable):
            await one.renew()
        assert (one.limiter.counted, one.counted()) == (old, set())
        await one.renew()
        assert job.permit
        assert (one.limiter.counted, job.permit.permit.id in one.counted()) == (99, True)

    run(main())


def test_a_second_loss_during_the_first_begins_anew() -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore())
        await one.limiter.declare()
        await one.renew()
        forget(one.semaphore)
        await one.renew()
        one.semaphore.fail["renew"] = deque([Unavailable("away")])
        with pytest.raises(Unavailable):
            await one.renew()
        await asyncio.sleep(5 * OPTIONS.heartbeat)
        forget(one.semaphore)
        await one.renew()
        assert one.semaphore.declared == {}
        assert await hushed_for(one) >= 2 * OPTIONS.heartbeat

    run(main())


def test_who_noticed_a_loss_late_does_not_declare_in_the_moment_of_the_next_one() -> None:
    """Others, which have been counted since the first, know nothing of the second."""

    async def main() -> None:
        one = Renewing(FakeSemaphore())
        await one.limiter.declare()
        await one.renew()

        def lost(version: int) -> None:
            forget(one.semaphore)
            one.semaphore.limits[KEPT], one.semaphore.versions[KEPT] = 1, version

        lost(98)  # and told again by others, which this one did not see
        await one.renew()
        inspect = one.semaphore.inspect

        async def at_the_moment_of_a_loss(keys: Sequence[str]) -> list[KeyInfo]:
            if one.semaphore.versions[KEPT] == 98:
                lost(99)
            return await inspect(keys)

        one.semaphore.inspect = at_the_moment_of_a_loss  # type: ignore[method-assign]
        await asyncio.sleep(OPTIONS.heartbeat)
        for _ in range(2):
            await one.renew()
            assert one.semaphore.declared == {}
        await asyncio.sleep(OPTIONS.heartbeat / 2)
        lost(100)  # between two renewals
        await asyncio.sleep(OPTIONS.heartbeat / 2)
        await one.renew()
        assert one.semaphore.declared == {}
        await asyncio.sleep(OPTIONS.heartbeat)
        await one.renew()
        assert one.semaphore.declared == {"lane:job": 3}

    run(main())


def test_a_loss_that_was_none_leaves_nothing_behind() -> None:
    async def main() -> None:
        one = Renewing(FakeSemaphore())
        await one.limiter.declare()
        await one.renew()
        version = one.semaphore.versions.pop(KEPT)
        await one.renew()
        one.semaphore.versions[KEPT] = version
        await asyncio.sleep(30)
        await one.renew()
        forget(one.semaphore)
        await one.renew()
        assert one.semaphore.declared == {}
        assert one.permits.hushed()

    run(main())


def test_many_lanes_are_declared_again_over_several_renewals_while_what_runs_is_counted() -> None:
    class Slow(FakeSemaphore):
        async def set_limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
            await asyncio.sleep(0.1)
            await super().set_limit(key, limit, pinned=pinned)
            if key != KEPT:
                self.limit(key, limit)

    async def main() -> None:
        lanes = {"job": 3, **{f"lane{n}": 1 for n in range(70)}}
        one = Renewing(Slow(), lanes=lanes)
        await one.limiter.declare()
        await one.renew()
        job = one.takes("a")
        forget(one.semaphore)
        await one.renew()
        await asyncio.sleep(OPTIONS.heartbeat)
        failed = 0
        for _ in range(9):
            if len(one.semaphore.declared) > len(lanes):
                break
            try:
                await one.renew()
            except Unknown:
                failed += 1
        assert failed == 2
        assert one.limiter.counted == one.semaphore.versions[KEPT]
        assert job.permit
        assert job.permit.permit.id in one.counted()

    run(main())


def test_a_slow_semaphore_is_asked_for_permits_all_the_same() -> None:
    class Slow(FakeSemaphore):
        async def renew(self, *args: Any, **named: Any) -> Renewed:
            await asyncio.sleep(1.4 * OPTIONS.heartbeat)
            return await super().renew(*args, **named)

    async def main() -> None:
        one = Renewing(Slow(job=3))
        await one.limiter.declare()
        await one.renew()
        await settle_down()
        assert len(one.counted()) == 3

    run(main())
