"""Permits of concurrency keys."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run, tools
from unit.worker.parts import OPTIONS, make_job, settle_down
from xqueue_core.errors import InvalidTask, Refused, Unknown
from xqueue_core.permits import Answer, Request
from xqueue_core.task import AnyOutcome, Failed, Failure, HandBack, Parked
from xqueue_core.worker.job import Job
from xqueue_core.worker.keys import Keys
from xqueue_core.worker.permits import AGAIN, GATHER, PermitDesk


class Picky(FakeSemaphore):
    """Does not like a key."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        if any(request.key.endswith(":bad") for request in requests):
            raise self.error
        return await super().acquire(requests, wait)


class Keyed:
    """Keys over a fake semaphore."""

    def __init__(self, semaphore: FakeSemaphore) -> None:
        self.semaphore = semaphore
        self.started: list[Job] = []
        self.refused: list[tuple[Job, AnyOutcome]] = []
        own = tools()
        self.permits = PermitDesk(semaphore, "w~1", OPTIONS, own)
        self.renewed(own.clock())
        self.keys = Keys(
            semaphore,
            self.permits,
            OPTIONS,
            own,
            self.started.append,
            lambda job, outcome: self.refused.append((job, outcome)),
        )
        self.tasks = [
            asyncio.create_task(self.keys.run()),
            asyncio.create_task(self.permits.run(lambda permits: None)),
        ]

    def renewed(self, at: float) -> None:
        """As after a renewal that was sent then."""
        self.permits._term.acknowledged(at)

    def admit(self, *keys: str) -> list[Job]:
        """Jobs with these keys come."""
        jobs = [make_job(key, key=key, key_limit=1) for key in keys]
        for job in jobs:
            self.keys.admit(job)
        return jobs


class HalfWay(Unknown):
    answered = True


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidTask("a limit of 0"), Failed(Failure("limits", message="a limit of 0"))),
        (HalfWay("half way"), HandBack(unable="limits", reason="half way")),
        (Refused("damaged"), HandBack(unable="limits", reason="damaged")),
        (ValueError("a bug"), HandBack(unable="limits", reason="a bug")),
    ],
)
def test_a_key_that_will_never_be_answered_holds_up_no_other(
    error: Exception, outcome: AnyOutcome
) -> None:
    async def main() -> None:
        one = Keyed(Picky(error))
        first, bad, last = one.admit("a", "bad", "z")
        await settle_down(100)
        assert one.started == [first, last]
        assert one.refused == [(bad, outcome)]

    run(main())


def test_a_lost_reply_to_what_was_withdrawn_leaks_no_permit() -> None:
    async def main() -> None:
        one = Keyed(Late())
        [job] = one.admit("a")
        await asyncio.sleep(0.5)
        assert one.keys.withdraw(job)
        await asyncio.sleep(10)
        assert one.semaphore.calls
        assert not one.semaphore.holders["key:job:a"]
        assert one.started == []

    run(main())


class Late(FakeSemaphore):
    """Takes a second, and its reply is lost."""

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        await asyncio.sleep(1)
        await super().acquire(requests, wait)
        raise Unknown("no reply")


def test_nothing_is_asked_for_while_permits_cannot_be_relied_upon() -> None:
    """It would be granted, not started, handed back, and leased again at once."""

    async def main() -> None:
        one = Keyed(FakeSemaphore())
        await asyncio.sleep(OPTIONS.lease + 1)
        jobs = one.admit("a", "b")
        await asyncio.sleep(OPTIONS.heartbeat / 2)
        assert (one.started, one.refused) == ([], [])
        one.renewed(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        assert one.started == jobs

    run(main())


def test_jobs_go_back_when_permits_cannot_be_relied_upon_for_long() -> None:
    async def main() -> None:
        one = Keyed(FakeSemaphore())
        await asyncio.sleep(OPTIONS.lease + 1)
        jobs = one.admit("a", "b")
        await asyncio.sleep(OPTIONS.heartbeat + 0.5)
        back = HandBack(reason="semaphore away")
        assert (one.started, one.refused) == ([], [(job, back) for job in jobs])
        assert one.permits.stalled == {"job"}

    run(main())


class Hanging(FakeSemaphore):
    """So many calls of ``acquire`` are granted, and never answered."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        answers = await super().acquire(requests, wait)
        self.times -= 1
        if self.times >= 0:
            await asyncio.Event().wait()
        return answers


#: Seconds for which an answer is waited for.
PATIENCE = max(OPTIONS.margin, OPTIONS.heartbeat)


def test_a_call_that_hangs_is_repeated() -> None:
    async def main() -> None:
        one = Keyed(Hanging(1))
        jobs = one.admit("a", "b")
        await asyncio.sleep(PATIENCE + 0.5)
        assert one.started == jobs
        ids = [[request.id for request in call] for call in one.semaphore.calls]
        assert ids[0] == ids[1], "by the same requests"

    run(main())


def test_calls_that_hang_keep_no_slot_when_permits_cannot_be_relied_upon_for_long() -> None:
    async def main() -> None:
        one = Keyed(Hanging(1000))
        jobs = one.admit("a", "b")
        await asyncio.sleep(OPTIONS.lease + OPTIONS.heartbeat + 0.5)
        back = HandBack(reason="semaphore away")
        assert (one.started, one.refused) == ([], [(job, back) for job in jobs])
        assert not one.semaphore.holders["key:job:a"], "what was granted went back"

    run(main())


def test_what_a_call_that_hung_is_granted_late_goes_back() -> None:
    async def main() -> None:
        one = Keyed(Hanging(1000))
        [job] = one.admit("a")
        await asyncio.sleep(PATIENCE + 0.5)
        assert one.keys.withdraw(job)
        await asyncio.sleep(2 * PATIENCE)
        late = one.semaphore.calls[0]
        await FakeSemaphore.acquire(one.semaphore, late, 0.0)
        assert one.semaphore.holders["key:job:a"]
        for _ in range(int(AGAIN[-1]) + 1):
            await asyncio.sleep(1)
            await one.permits.renew([], lambda grip, keep: None)
        await settle_down()
        assert not one.semaphore.holders["key:job:a"]

    run(main())


class Granting(FakeSemaphore):
    """Grants at once, and answers a second later."""

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        answers = await super().acquire(requests, wait)
        await asyncio.sleep(1)
        return answers


def test_the_end_of_the_worker_withdraws_what_a_call_under_way_was_granted() -> None:
    async def main() -> None:
        one = Keyed(Granting())
        one.admit("a", "b")
        await asyncio.sleep(0.5)
        assert one.semaphore.holders["key:job:a"]
        one.tasks[0].cancel()
        await settle_down()
        assert not one.semaphore.holders["key:job:a"]
        assert not one.semaphore.holders["key:job:b"]
        assert one.started == []

    run(main())


def test_permits_that_nobody_waits_for_go_back_together() -> None:
    async def main() -> None:
        one = Keyed(FakeSemaphore())
        one.permits.unhurried = lambda permit: permit.key != "key:job:hot"
        jobs = one.admit("a", "b", "hot")
        await settle_down()
        one.keys.freed(jobs[0])
        await asyncio.sleep(GATHER / 2)
        one.keys.freed(jobs[1])
        await settle_down()
        assert one.semaphore.holders["key:job:a"]
        await asyncio.sleep(GATHER / 2)
        await settle_down()
        assert not one.semaphore.holders["key:job:a"]
        assert not one.semaphore.holders["key:job:b"]
        one.keys.freed(jobs[2])
        await settle_down()
        assert not one.semaphore.holders["key:job:hot"]

    run(main())


def test_a_permit_above_a_lowered_limit_goes_back_and_its_job_is_parked() -> None:
    """Both were granted, nobody heard of it, and then the key's limit was lowered."""

    async def main() -> None:
        semaphore = FakeSemaphore()
        semaphore.limit("key:job:k", 2)
        semaphore.lose["acquire"] = deque([Unknown("no reply")])
        one = Keyed(semaphore)
        first, second = (make_job(name, key="k") for name in "ab")
        for job in (first, second):
            one.keys.admit(job)
        await settle_down()
        assert len(semaphore.holders["key:job:k"]) == 2
        semaphore.limit("key:job:k", 1)
        await asyncio.sleep(2)
        assert (one.started, one.refused) == ([first], [(second, Parked())])
        assert len(semaphore.holders["key:job:k"]) == 1

    run(main())
