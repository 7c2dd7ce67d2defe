"""Grants under another limit than the last renewal told, or above a limit that was lowered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from support.fake_semaphore import FakeSemaphore
from support.virtual import run
from unit.worker.limiting import Limiting
from unit.worker.parts import settle_down
from xqueue_core.permits import Answer, Grant, Keep, Renewed, Request
from xqueue_core.worker.declaring import KEPT
from xqueue_core.worker.gate import LONGEST

if TYPE_CHECKING:
    from xqueue_core.abc import TaskView

LANE = "lane:job"


class Deaf(FakeSemaphore):
    """Grants, but while ``deaf`` nobody hears of it."""

    deaf = False

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        answers = await super().acquire(requests, 0.0 if self.deaf else wait)
        while self.deaf:
            await asyncio.sleep(0.1)
        return answers if not wait else [self._answer(one) for one in requests]


async def _cut_off(limit: int, then: int) -> Limiting:
    """A worker that has not heard of its grants before the limit was changed."""
    semaphore = Deaf(job=limit)
    one = Limiting(semaphore)
    semaphore.deaf = True
    await one.renew()
    assert one.held == limit
    semaphore.limit(LANE, then)
    semaphore.deaf = False
    await asyncio.sleep(0.2)
    return one


def test_what_is_granted_above_a_lowered_limit_goes_back_at_once() -> None:
    async def main() -> None:
        one = await _cut_off(limit=3, then=1)
        assert (one.held, one.limiter.allowance("job")) == (1, None)
        await one.renew()
        assert (one.held, one.limiter.allowance("job")) == (1, 1)

    run(main())


def test_a_grant_under_another_limit_than_is_known_waits_for_the_next_renewal() -> None:
    async def main() -> None:
        one = await _cut_off(limit=2, then=2)
        assert (one.held, one.limiter.allowance("job")) == (2, None)
        pokes = one.pokes
        await one.renew()
        assert (one.held, one.limiter.allowance("job")) == (2, 2)
        assert one.pokes > pokes

    run(main())


def test_a_grant_of_a_limit_that_is_lowered_again_goes_back_when_it_is_told_to() -> None:
    async def main() -> None:
        one = await _cut_off(limit=2, then=2)
        [first, second] = one.semaphore.holders[LANE]
        one.semaphore.limit(LANE, 1)
        one.semaphore.verdicts = {second: Keep.YIELD}
        await one.renew()
        assert (list(one.semaphore.holders[LANE]), one.limiter.allowance("job")) == ([first], 1)

    run(main())


def test_grants_are_used_also_while_the_limit_is_changed_before_each_renewal() -> None:
    async def main() -> None:
        one = await _cut_off(limit=2, then=2)
        one.semaphore.limit(LANE, 2)
        await one.renew()
        assert one.limiter.allowance("job") == 2

    run(main())


def test_a_grant_that_comes_while_a_renewal_is_under_way_waits_for_the_next() -> None:
    class Slow(FakeSemaphore):
        async def renew(self, *args: Any, **options: Any) -> Renewed:
            renewed = await super().renew(*args, **options)
            await asyncio.sleep(0.5)
            return renewed

    async def main() -> None:
        one = Limiting(Slow(job=1))
        await one.renew()
        job = one.take("1")
        renewing = asyncio.create_task(one.renew())
        await asyncio.sleep(0.1)
        one.semaphore.limit(LANE, 3)
        await one.end(job)
        await renewing
        assert (one.held, one.limiter.allowance("job")) == (3, 1)
        await one.renew()
        assert one.limiter.allowance("job") == 3

    run(main())


def test_a_grant_after_a_loss_goes_back_also_if_other_workers_cannot_be_asked() -> None:
    class Silent:
        async def workers(self) -> NoReturn:
            raise ValueError("not today")

    async def main() -> None:
        one = Limiting(FakeSemaphore(job=1), view=cast("TaskView", Silent()))
        one.semaphore.limit(KEPT, 1)
        one.limiter._declaring._kept = 7  # as it was before the loss
        await one.renew()
        one.semaphore.limit(LANE, 2)
        one.limiter.look()
        await asyncio.sleep(1.5)
        assert one.held == 2
        for _ in range(2):
            versions = await one.permits.renew(one.limiter.keys, one._told)
            with pytest.raises(ValueError, match="not today"):
                await one.limiter.forgotten(versions)
            one.limiter.open()
            await settle_down()
            assert one.permits.hushed()
            assert one.held == 1  # that of its old life, as this semaphore has it
            assert one.limiter.allowance("job") == 1

    run(main())


def test_a_grant_of_a_semaphore_that_has_lost_its_data_goes_back() -> None:
    async def main() -> None:
        one = Limiting(FakeSemaphore(job=1, other=1))
        await one.limiter.declare()
        await one.renew()
        job = one.take("1")
        job.started = one.tools.clock()
        # All is lost, and before anybody has noticed an operator sets this lane's limit.
        one.semaphore.holders.clear()
        one.semaphore.limit(KEPT, None)
        one.semaphore.limit(LANE, 2)
        one.limiter.look()
        await settle_down()
        await asyncio.sleep(LONGEST)
        assert (one.held, one.limiter.allowance("job")) == (2, None)
        versions = await one.permits.renew(one.limiter.keys, one._told)
        assert await one.limiter.forgotten(versions)
        await settle_down()
        assert one.held == 0

    run(main())


def test_a_grant_is_used_where_the_version_is_not_told() -> None:
    class Silent(FakeSemaphore):
        def _answer(self, request: Request) -> Answer:
            answer = super()._answer(request)
            return Answer(answer.grant, answer.token, answer.place)

    async def main() -> None:
        one = Limiting(Silent(job=2))
        await one.renew()
        assert one.limiter.allowance("job") == 2
        assert {grant.grant for grant in [one.semaphore._answer(one.semaphore.calls[0][0])]} == {
            Grant.GRANTED
        }

    run(main())
