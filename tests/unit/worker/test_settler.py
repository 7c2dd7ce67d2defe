"""Recording outcomes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import pytest

from support.fake_queue import FakeQueue
from support.virtual import run, tools
from unit.worker.parts import make_job, settle_down
from xqueue_core.calls import Settle, Settled
from xqueue_core.errors import Refused, Unavailable, Unknown
from xqueue_core.task import AnyOutcome, Failed, Success
from xqueue_core.worker.job import Job
from xqueue_core.worker.settler import BATCH, BYTES, Settler


class Settling:
    """A settler over a fake queue."""

    def __init__(self, most: int = 100) -> None:
        self.queue = FakeQueue()
        self.told: list[tuple[str, AnyOutcome, Settled]] = []
        self.settler = Settler(self.queue, tools(), self._settled, most)
        self.task = asyncio.create_task(self.settler.run())

    def _settled(self, job: Job, outcome: AnyOutcome, verdict: Settled) -> None:
        self.told.append((job.id, outcome, verdict))

    def add(self, *names: str) -> None:
        """Successes of jobs with these names."""
        for name in names:
            self.settler.add(make_job(name), Success(name.encode()))

    def sizes(self) -> list[int]:
        """How many went in each call."""
        return [len(one) for one in self.queue.settles]


def test_what_gathers_while_a_call_is_under_way_goes_together() -> None:
    async def main() -> None:
        one = Settling()
        one.add("a")
        await asyncio.sleep(0)
        one.add("b", "c", "d")
        await settle_down()
        assert one.sizes() == [1, 3]
        assert [name for name, _, verdict in one.told if verdict is Settled.APPLIED] == [
            "job:a",
            "job:b",
            "job:c",
            "job:d",
        ]
        assert one.settler.idle

    run(main())


def test_batches_are_bounded() -> None:
    async def main() -> None:
        one = Settling(10_000)
        one.add(*(str(n) for n in range(BATCH + 1)))
        await settle_down()
        assert one.sizes() == [BATCH, 1]

    run(main())


@pytest.mark.parametrize("error", [Unavailable("away"), Unknown("?"), RuntimeError("bug")])
def test_outcomes_are_kept_through_an_outage(error: Exception) -> None:
    async def main() -> None:
        one = Settling(5)
        one.queue.fail["settle"] = deque([error] * 20)
        one.add("a", "b", "c")
        await settle_down()
        one.add(*"defgh")
        assert one.settler.full
        assert not one.settler.idle
        await asyncio.sleep(60)
        assert sorted(name for name, _, _ in one.told) == [f"job:{name}" for name in "abcdefgh"]
        assert not one.settler.full

    run(main())


def test_a_lost_reply_is_asked_for_again() -> None:
    async def main() -> None:
        one = Settling()
        one.queue.lose["settle"] = deque([Unknown("no reply")])
        one.add("a")
        await asyncio.sleep(5)
        assert [verdict for _, _, verdict in one.told] == [Settled.REPEATED]

    run(main())


def test_large_results_brake_too() -> None:
    async def main() -> None:
        one = Settling()
        one.queue.hang.add("settle")
        one.settler.add(make_job(), Success(b"x" * BYTES))
        assert one.settler.full

    run(main())


def test_what_the_broker_refuses_for_good_does_not_hold_up_the_rest() -> None:
    class Picky(FakeQueue):
        async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
            if any(isinstance(o.outcome, Success) and o.id == "job:bad" for o in outcomes):
                raise Refused("too large for me")
            return await super().settle(outcomes)

    async def main() -> None:
        one = Settling()
        one.queue = Picky()
        one.settler._queue = one.queue
        one.add("a", "bad", "b")
        await asyncio.sleep(5)
        ends = {name: outcome for name, outcome, _ in one.told}
        assert ends["job:a"] == Success(b"a")
        assert ends["job:b"] == Success(b"b")
        assert isinstance(ends["job:bad"], Failed)
        assert ends["job:bad"].failure.message == "too large for me"
        assert one.settler.idle

    run(main())
