"""A call without an answer may be carried out later: what it is granted then goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run, tools
from unit.worker.limiting import Limiting
from unit.worker.parts import OPTIONS, request, settle_down
from unit.worker.renewing import Renewing
from unit.worker.test_keys import Keyed
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.permits import Answer, Grant, Keep, Permit, Request
from xqueue_core.worker.permits import AGAIN, PermitDesk

#: A while after which the last withdrawal has been made.
OVER = AGAIN[-1] + 1


class Delayed(FakeSemaphore):
    """Its first ``acquire`` is not answered, and :meth:`land` carries it out."""

    def __init__(self, **limits: int) -> None:
        super().__init__(**limits)
        self.error: Exception | None = Unknown("no answer")
        self.first: list[Request] = []
        self.released: list[Permit] = []

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        error, self.error = self.error, None
        if error is None:
            return await super().acquire(requests, wait)
        self.first = list(requests)
        raise error

    async def land(self) -> None:
        """The call arrives, behind whatever happened since."""
        await super().acquire(self.first, 0.0)

    async def release(self, permits: Sequence[Permit]) -> None:
        self.released.extend(permits)
        await super().release(permits)


class Desk:
    """A desk over such a semaphore, whose first call has been made."""

    def __init__(self, **limits: int) -> None:
        self.semaphore = Delayed(**limits)
        self.desk = PermitDesk(self.semaphore, "w~1", OPTIONS, tools())
        self.wish = request("w~1:1")
        self.giving_back = asyncio.create_task(self.desk.run(lambda permits: None))

    async def fail(self, error: BaseException) -> None:
        """The first call ends without an answer."""
        self.semaphore.error = error  # type: ignore[assignment]
        with pytest.raises(type(error)):
            await self.desk.acquire([self.wish], 0.0)

    async def ask(self) -> Answer:
        """Ask again, and get an answer."""
        [answer] = await self.desk.acquire([self.wish], 0.0)
        return answer

    async def pass_by(self, seconds: float) -> None:
        """So much time passes, with renewals."""
        for _ in range(int(seconds * 2)):
            await asyncio.sleep(0.5)
            await self.desk.renew([], lambda grip, keep: None)
            await settle_down()

    @property
    def holders(self) -> list[str]:
        """The requests that have a permit."""
        return list(self.semaphore.holders["lane:job"])


@pytest.mark.parametrize(
    "error",
    [Unknown("no answer"), asyncio.CancelledError(), TimeoutError(), RuntimeError("a bug")],
    ids=lambda error: type(error).__name__,
)
def test_a_permit_granted_after_it_was_given_back_is_withdrawn(error: BaseException) -> None:
    async def main() -> None:
        one = Desk(job=1)
        await one.fail(error)
        grip = one.desk.granted(one.wish, (await one.ask()).token, "job")
        one.desk.release(grip)
        await settle_down()
        await one.semaphore.land()
        assert one.holders == [one.wish.id]
        await one.pass_by(AGAIN[0] + 0.5)
        assert one.holders == []
        await one.semaphore.land()  # carried out twice
        await one.pass_by(OVER)
        assert one.holders == []

    run(main())


@pytest.mark.parametrize("grant", [Grant.DENIED, Grant.FREE])
def test_a_permit_granted_after_another_answer_is_withdrawn(grant: Grant) -> None:
    async def main() -> None:
        one = Desk()
        if grant is Grant.DENIED:
            one.wish.queue = False
            one.semaphore.limit("lane:job", 1)
            one.semaphore.holders["lane:job"]["other"] = "w~2"
        await one.fail(Unknown("no answer"))
        assert (await one.ask()).grant is grant
        one.semaphore.holders["lane:job"].clear()
        one.semaphore.limit("lane:job", 1)
        await one.semaphore.land()
        assert one.holders == [one.wish.id]
        await one.pass_by(OVER)
        assert one.holders == []

    run(main())


def test_a_permit_granted_after_it_was_lost_is_withdrawn() -> None:
    async def main() -> None:
        one = Desk(job=1)
        await one.fail(Unknown("no answer"))
        one.desk.granted(one.wish, (await one.ask()).token, "job")
        one.semaphore.holders["lane:job"].clear()
        one.semaphore.verdicts[one.wish.id] = Keep.LOST
        await one.pass_by(0.5)
        await one.semaphore.land()
        assert one.holders == [one.wish.id]
        await one.pass_by(OVER)
        assert one.holders == []

    run(main())


def test_what_is_held_is_not_withdrawn() -> None:
    async def main() -> None:
        one = Desk(job=1)
        await one.fail(Unknown("no answer"))
        grip = one.desk.granted(one.wish, (await one.ask()).token, "job")
        await one.semaphore.land()
        await one.pass_by(3 * OVER)
        assert one.holders == [one.wish.id]
        assert one.semaphore.released == []
        one.desk.release(grip)
        await one.pass_by(OVER)
        first, *again = one.semaphore.released
        assert first == grip.permit
        assert again == [Permit(one.wish.id, one.wish.key)] * len(AGAIN)

    run(main())


def test_what_is_still_asked_for_is_not_withdrawn() -> None:
    async def main() -> None:
        one = Desk(job=1)
        one.semaphore.holders["lane:job"]["other"] = "w~2"
        await one.fail(Unknown("no answer"))
        assert (await one.ask()).grant is Grant.WAITING
        await one.pass_by(OVER)
        assert one.semaphore.released == []
        one.semaphore.holders["lane:job"].clear()
        assert (await one.ask()).grant is Grant.GRANTED

    run(main())


def test_nothing_is_withdrawn_without_a_doubt() -> None:
    async def main() -> None:
        one = Desk(job=1)
        await one.fail(Unavailable("nothing happened"))
        grip = one.desk.granted(one.wish, (await one.ask()).token, "job")
        one.desk.release(grip)
        await one.pass_by(OVER)
        assert one.semaphore.released == [grip.permit]

    run(main())


# -- by who asks -----------------------------------------------------------------------------------


def test_a_lane_keeps_no_permit_of_a_late_call() -> None:
    async def main() -> None:
        one = Limiting(Delayed(job=1))
        await one.renew()
        for _ in range(4):
            await asyncio.sleep(0.5)
            await one.renew()
        await one.end(one.take("job"))
        one.limiter.leased("job", 1, 0, full=False)  # no more work
        await settle_down()
        assert one.held == 0
        assert isinstance(one.semaphore, Delayed)
        await one.semaphore.land()
        assert one.held == 1
        for _ in range(int(OVER)):
            await asyncio.sleep(1)
            await one.renew()
        assert one.held == 0

    run(main())


def test_a_key_keeps_no_permit_of_a_late_call() -> None:
    async def main() -> None:
        semaphore = Delayed()
        one = Keyed(semaphore)
        [job] = one.admit("a")
        await asyncio.sleep(2)
        assert one.started == [job]
        one.keys.freed(job)
        await asyncio.sleep(1)
        await semaphore.land()
        assert semaphore.holders["key:job:a"]
        for _ in range(int(OVER)):
            await asyncio.sleep(1)
            await one.permits.renew([], lambda grip, keep: None)
        await settle_down()
        assert not semaphore.holders["key:job:a"]

    run(main())


def test_what_was_registered_keeps_no_permit_of_a_late_call() -> None:
    async def main() -> None:
        semaphore = Delayed()
        one = Renewing(semaphore)
        await one.renew()
        job = one.runs("a")
        semaphore.limit("lane:job", 1)
        with pytest.raises(Unknown):
            await one.renew()
        await one.renew()
        assert job.permit is not None
        registered = job.permit.permit.id
        await one.end(job)
        assert registered not in one.counted()
        await semaphore.land()
        assert registered in one.counted()
        for _ in range(int(OVER)):
            await asyncio.sleep(1)
            await one.renew()
        assert registered not in one.counted()

    run(main())
