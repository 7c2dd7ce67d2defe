"""Permits that come, or go, in a way that the semaphore does not expect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run, tools
from unit.worker.parts import OPTIONS, request, settle_down
from xqueue_core.errors import Refused
from xqueue_core.permits import Answer, Grant, Keep, Permit, Renewed, Request
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.permits import PermitDesk


class Slow(FakeSemaphore):
    """The answers of ``acquire`` wait for ``gate``; with ``opens`` a renewal lets them come."""

    def __init__(self, **limits: int) -> None:
        super().__init__(**limits)
        self.gate = asyncio.Event()
        self.opens = False

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        answers = await super().acquire(requests, wait)
        await self.gate.wait()
        return answers

    async def renew(self, *args: Any, **named: Any) -> Renewed:
        renewed = await super().renew(*args, **named)
        if self.opens:
            self.gate.set()
            await settle_down()
        return renewed


class Stopped:
    """A desk that asks for a permit, and whose lease runs out before the answer comes."""

    def __init__(self) -> None:
        self.tools = tools()
        self.semaphore = Slow(job=1)
        self.desk = PermitDesk(self.semaphore, "w~1", OPTIONS, self.tools)
        self.answers: list[Answer] = []
        self.grips: list[Grip] = []
        self.told: list[Keep] = []
        self.asking: asyncio.Task[None] | None = None

    async def stand_still(self) -> None:
        await self.renew()
        self.asking = asyncio.create_task(self._ask())
        await settle_down()
        await asyncio.sleep(OPTIONS.lease)
        self.semaphore.holders["lane:job"] = {"other": "another worker"}

    async def renew(self) -> None:
        await self.desk.renew([], lambda grip, keep: self.told.append(keep))

    async def _ask(self) -> None:
        wish = request("w~1:1")
        self.answers += await self.desk.acquire([wish], 0.0)
        if self.answers[0].grant is Grant.GRANTED:
            self.grips.append(self.desk.granted(wish, self.answers[0].token, "job"))


def test_an_answer_that_comes_after_a_new_beginning_is_asked_for_again() -> None:
    async def main() -> None:
        one = Stopped()
        await one.stand_still()
        await one.renew()
        one.semaphore.gate.set()
        assert one.asking
        await one.asking
        assert [answer.grant for answer in one.answers] == [Grant.WAITING]

    run(main())


def test_an_answer_that_comes_while_that_renewal_is_under_way_is_not_relied_upon() -> None:
    async def main() -> None:
        one = Stopped()
        await one.stand_still()
        one.semaphore.opens = True
        await one.renew()
        [grip] = one.grips
        assert one.desk.fresh()
        assert grip.lost
        assert not grip.good(one.tools.clock())
        assert one.told == [Keep.LOST]
        one.semaphore.opens = False
        await one.renew()  # it is not held any more
        assert one.semaphore.renewals[-1] == []

    run(main())


class Picky(FakeSemaphore):
    """It refuses to take back permits of one key, until it is ``mended``."""

    mended = False
    error: Exception = Refused("of another type")

    async def release(self, permits: Sequence[Permit]) -> None:
        if not self.mended and any(one.key == "key:job:bad" for one in permits):
            raise self.error
        await super().release(permits)


@pytest.mark.parametrize(
    "error", [Refused("of another type"), RuntimeError("a bug")], ids=lambda one: type(one).__name__
)
def test_a_permit_that_cannot_be_given_back_keeps_no_other(error: Exception) -> None:
    async def main() -> None:
        semaphore = Picky(job=2)
        semaphore.error = error
        desk = PermitDesk(semaphore, "w~1", OPTIONS, tools())
        told: list[Permit] = []
        giving_back = asyncio.create_task(desk.run(told.extend))
        bad, good = request("w~1:0", "key:job:bad"), request("w~1:1")
        semaphore.holders["key:job:bad"] = {bad.id: "w~1"}
        [answer] = await desk.acquire([good], 0.0)
        desk.withdraw(bad)
        desk.release(desk.granted(good, answer.token, "job"))
        await settle_down()
        assert not semaphore.holders["lane:job"]
        assert [one.id for one in told] == [good.id]
        assert semaphore.holders["key:job:bad"]
        semaphore.mended = True
        for _ in range(10):  # seconds
            await asyncio.sleep(1.0)
            await desk.renew([], lambda grip, keep: None)
        await settle_down()
        assert not semaphore.holders["key:job:bad"]
        giving_back.cancel()

    run(main())
