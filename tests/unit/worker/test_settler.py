"""Recording outcomes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from support.fake_queue import FakeQueue
from support.virtual import run, tools
from unit.worker.parts import make_job, settle_down
from xqueue_core.calls import Settle, Settled
from xqueue_core.errors import Refused, Unavailable, Unknown
from xqueue_core.task import AnyOutcome, Canceled, Failed, Failure, HandBack, RetryAt, Success
from xqueue_core.worker.job import Job
from xqueue_core.worker.settler import BATCH, BATCH_BYTES, BYTES, Settler


class Settling:
    """A settler over a fake queue."""

    def __init__(self, most: int = 100, queue: FakeQueue | None = None) -> None:
        self.queue = queue or FakeQueue()
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


def test_batches_are_bounded_by_bytes_too() -> None:
    async def main() -> None:
        one = Settling(10_000)
        half, over = b"x" * (BATCH_BYTES // 2), b"x" * (BATCH_BYTES + 1)
        for result in (half, half, b"", b"x", over, over, half):
            one.settler.add(make_job(), Success(result))
        await settle_down()
        assert one.sizes() == [3, 1, 1, 1, 1]
        assert one.settler._bytes == 0

    run(main())


class Slow(FakeQueue):
    """Carries so many bytes of results in the time of a call; its answer is lost if more come."""

    most = 600_000

    async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
        """As the base."""
        results = [one.outcome.result for one in outcomes if isinstance(one.outcome, Success)]
        self.lose["settle"] = deque()
        if sum(map(len, results)) > self.most:
            self.lose["settle"].append(Unknown("no answer in time"))
        return await super().settle(outcomes)


def test_what_no_call_carries_at_once_is_recorded_piece_by_piece() -> None:
    async def main() -> None:
        one = Settling(queue=Slow())
        names = [str(n) for n in range(20)]
        for name in names:
            one.settler.add(make_job(name), Success(b"x" * 500_000))
        await asyncio.sleep(60)
        assert sorted(name for name, _, _ in one.told) == sorted(f"job:{name}" for name in names)
        assert one.settler.idle

    run(main())


def test_small_outcomes_stay_together_through_an_outage() -> None:
    async def main() -> None:
        one = Settling()
        one.queue.fail["settle"] = deque([Unavailable("away")] * 20)
        one.add(*(str(n) for n in range(100)))
        await asyncio.sleep(60)
        assert set(one.sizes()) == {100}

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
        assert {name: outcome for name, outcome, _ in one.told} == {
            f"job:{name}": Success(name.encode()) for name in "abcdefgh"
        }
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


class Picky(FakeQueue):
    """Fails every call that has an outcome which is ``wrong``, so many times."""

    def __init__(
        self, error: Exception, wrong: Callable[[Settle], bool], times: int = 1_000_000
    ) -> None:
        super().__init__()
        self.error = error
        self.wrong = wrong
        self.times = times

    async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
        """As the base, unless one is wrong."""
        if self.times and any(map(self.wrong, outcomes)):
            self.times -= 1
            raise self.error
        return await super().settle(outcomes)


def bad(one: Settle) -> bool:
    """The outcomes of job:bad, but for what stands in their place."""
    plain = isinstance(one.outcome, Failed) and one.outcome.failure.reason == "result"
    return one.id == "job:bad" and not plain


class HalfWay(Unknown):
    answered = True


FAULTS = [
    HalfWay("it ended half way"),
    Refused("too large for me"),
    UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"),
]


@pytest.mark.parametrize("error", FAULTS)
@pytest.mark.parametrize(
    "outcome", [Success(b"bad"), Failed(Failure("exception")), RetryAt(1.0, Failure("exception"))]
)
def test_an_outcome_that_cannot_be_recorded_is_replaced_and_does_not_hold_up_the_rest(
    error: Exception, outcome: AnyOutcome
) -> None:
    async def main() -> None:
        one = Settling(queue=Picky(error, bad))
        names = [str(n) for n in range(300)]
        one.add(*names[:150])
        one.settler.add(make_job("bad"), outcome)
        one.add(*names[150:])
        await settle_down(200)
        ends = {name: outcome for name, outcome, _ in one.told}
        assert ends == {f"job:{name}": Success(name.encode()) for name in names}
        one.add("later")
        await asyncio.sleep(10)
        ends = {name: outcome for name, outcome, _ in one.told}
        assert ends["job:later"] == Success(b"later")
        replaced = ends["job:bad"]
        assert isinstance(replaced, Failed)
        assert replaced.failure.reason == "result"
        assert str(error)[:10] in replaced.failure.message
        assert one.settler.idle
        assert one.settler._bytes == 0

    run(main())


@pytest.mark.parametrize("error", FAULTS)
def test_a_refusal_that_passes_costs_no_result(error: Exception) -> None:
    async def main() -> None:
        one = Settling(queue=Picky(error, bad, times=3))
        one.add("a", "bad", "b")
        await asyncio.sleep(10)
        assert {name: outcome for name, outcome, _ in one.told} == {
            f"job:{name}": Success(name.encode()) for name in ("a", "bad", "b")
        }
        assert one.settler.idle

    run(main())


@pytest.mark.parametrize("error", [Unavailable("away"), Unknown("?")])
def test_an_outage_while_a_batch_is_split_loses_nothing(error: Exception) -> None:
    """The second error used to leave the settler's loop, and with it the worker."""

    class Shaky(Picky):
        async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
            if self.times < 1_000_000 and not self.fail["settle"] and len(self.settles) < 1:
                self.fail["settle"] = deque([error] * 3)
            return await super().settle(outcomes)

    async def main() -> None:
        one = Settling(queue=Shaky(Refused("no"), bad))
        one.queue.fail["settle"] = deque()
        one.add("a", "bad", "b", "c")
        await asyncio.sleep(60)
        assert not one.task.done()
        assert sorted(name for name, _, _ in one.told) == ["job:a", "job:b", "job:bad", "job:c"]
        assert one.settler.idle

    run(main())


@pytest.mark.parametrize("outcome", [HandBack(ran=True), Canceled(), Success(b"x")])
def test_what_nobody_takes_is_kept_and_nothing_waits_for_it(outcome: AnyOutcome) -> None:
    """Given up, it would not be named by the heartbeats, handed back, and run again for ever."""

    async def main() -> None:
        one = Settling(queue=Picky(Refused("never"), lambda settle: settle.id == "job:a"))
        one.settler.add(make_job("a"), outcome)
        await asyncio.sleep(60)
        assert (one.told, one.settler.idle) == ([], False)
        for n in range(20):
            one.add(f"quick{n}")
            await settle_down()
            assert one.told[-1][0] == f"job:quick{n}", "recorded at once"
            await asyncio.sleep(0.3)

    run(main())


def test_a_backend_that_refuses_everything_for_a_while_costs_no_result() -> None:
    """As SQLite does on a volume that is read-only for some seconds."""

    async def main() -> None:
        for times in range(1, 80, 7):
            one = Settling(queue=Picky(Refused("read-only"), lambda _: True, times=times))
            one.add(*(str(n) for n in range(10)))
            await asyncio.sleep(60)
            assert [type(outcome) for _, outcome, _ in one.told] == [Success] * 10, times
            assert one.settler.idle

    run(main())


def test_what_is_not_known_to_be_applied_is_settled_again() -> None:
    class Vague(FakeQueue):
        async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
            verdicts = await super().settle(outcomes)
            if len(self.settles) == 1:
                verdicts[1] = Settled.UNKNOWN
            return verdicts

    async def main() -> None:
        one = Settling(queue=Vague())
        one.add("a", "b", "c")
        await asyncio.sleep(5)
        assert [(name, verdict) for name, _, verdict in one.told] == [
            ("job:a", Settled.APPLIED),
            ("job:c", Settled.APPLIED),
            ("job:b", Settled.REPEATED),
        ]

    run(main())


def test_an_answer_of_the_wrong_length_is_a_fault() -> None:
    class Short(FakeQueue):
        async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
            return (await super().settle(outcomes))[: max(1, len(outcomes) - 1)]

    async def main() -> None:
        one = Settling(queue=Short())
        one.add("a", "b")
        await asyncio.sleep(5)
        assert sorted(name for name, _, _ in one.told) == ["job:a", "job:b"]

    run(main())
