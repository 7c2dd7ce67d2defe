"""Permits of concurrency keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run, tools
from unit.worker.parts import OPTIONS, make_job, settle_down
from xqueue_core.errors import InvalidTask, Refused, Unknown
from xqueue_core.permits import Answer, Request
from xqueue_core.task import AnyOutcome, Failed, Failure, HandBack
from xqueue_core.worker.job import Job
from xqueue_core.worker.keys import Keys
from xqueue_core.worker.permits import PermitDesk


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


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidTask("a limit of 0"), Failed(Failure("limits", message="a limit of 0"))),
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
        await asyncio.sleep(5)
        assert (one.started, one.refused) == ([], [])
        one.renewed(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        assert one.started == jobs

    run(main())
