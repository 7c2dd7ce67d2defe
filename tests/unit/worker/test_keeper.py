"""Heartbeats."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from support.fake_queue import FakeQueue
from support.virtual import run, tools
from unit.worker.parts import OPTIONS, make_job
from xqueue_core.calls import BeatReply, Held, Hold
from xqueue_core.errors import Unavailable
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.job import Job
from xqueue_core.worker.keeper import LONGEST, Caretaker, Keeper, Person
from xqueue_core.worker.tools import Term


class Keeping:
    """A keeper over a fake queue."""

    def __init__(self) -> None:
        self.queue = FakeQueue()
        self.desk = Desk(4, 2, 2)
        self.term = Term(OPTIONS.lease - OPTIONS.margin)
        self.told: list[tuple[list[str], BeatReply]] = []
        self.when_told: Callable[[], None] = lambda: None
        self.renewals = 0
        self.acknowledged: list[tuple[list[tuple[str, bool]], list[Hold], bool]] = []
        self.tools = tools()
        self.keeper = Keeper(
            self.queue,
            Person("w~1", ["job"], ["job"]),
            self.desk,
            self.term,
            OPTIONS,
            self.tools,
            lambda: 7,
            lambda: 11,
            lambda: ["job:late"],
            lambda: True,
            self._told,
            self._renewed,
            self._acknowledged,
        )

    def _renewed(self) -> None:
        assert self.term.fresh(self.tools.clock())
        self.renewals += 1

    def _acknowledged(self, held: Sequence[Held], holds: Sequence[Hold]) -> None:
        fresh = self.term.fresh(self.tools.clock())
        self.acknowledged.append(([(one.id, one.waits) for one in held], list(holds), fresh))

    def _told(self, jobs: Sequence[Job], reply: BeatReply) -> None:
        self.when_told()
        self.told.append(([job.id for job in jobs], reply))


def test_it_names_everything_the_worker_has() -> None:
    async def main() -> None:
        keeping = Keeping()
        waiting, running, settling, lost = (make_job(name) for name in ("a", "b", "c", "d"))
        for job in (waiting, running, settling, lost):
            keeping.desk.take(job)
        running.started = 1.0
        lost.started, lost.lost = 1.0, True
        keeping.desk.leave(settling)
        keeping.queue.holds["job:b"] = Hold.CANCELED
        assert await keeping.keeper.beat()
        [(beat, held)] = keeping.queue.beats
        assert sorted(held) == [("job:a", 1), ("job:b", 1), ("job:c", 1)]
        assert (beat.worker, beat.answered, beat.slots, beat.running) == ("w~1", 7, 4, 2)
        assert (beat.lease, beat.heartbeat, beat.overdue) == (15.0, 1.0, ["job:late"])
        assert (beat.counted, beat.draining) == (11, True)
        [(names, reply)] = keeping.told
        assert dict(zip(names, reply.held, strict=True))["job:b"] is Hold.CANCELED

    run(main())


def test_the_lease_counts_from_when_the_heartbeat_was_sent() -> None:
    async def main() -> None:
        keeping = Keeping()
        clock = keeping.tools.clock
        assert not keeping.term.fresh(clock())
        keeping.queue.hang.add("extend")
        beating = asyncio.create_task(keeping.keeper.beat())
        await asyncio.sleep(2)
        beating.cancel()
        assert not keeping.term.fresh(clock())
        keeping.queue.hang.clear()
        sent = clock()
        assert await keeping.keeper.beat()
        assert keeping.term.fresh(sent + 11.9)
        assert not keeping.term.fresh(sent + 12.0)

    run(main())


def test_what_is_lost_is_told_before_the_lease_is_relied_upon_again() -> None:
    async def main() -> None:
        keeping = Keeping()
        clock, fresh = keeping.tools.clock, []
        keeping.when_told = lambda: fresh.append(keeping.term.fresh(clock()))
        assert await keeping.keeper.beat()
        assert fresh == [False]
        assert keeping.term.fresh(clock())

    run(main())


def test_what_was_acknowledged_is_told_when_the_lease_may_be_relied_upon() -> None:
    async def main() -> None:
        keeping = Keeping()
        waiting, running = make_job("a", losses=2), make_job("b")
        for job in (waiting, running):
            keeping.desk.take(job)
        assert await keeping.keeper.beat()
        [(named, holds, fresh)] = keeping.acknowledged
        assert sorted(named) == [("job:a", True), ("job:b", False)]
        assert (holds, fresh) == ([Hold.KEPT] * 2, True)

    run(main())


def test_one_that_is_wanted_is_sent_at_once_or_after_the_one_under_way() -> None:
    async def main() -> None:
        keeping = Keeping()
        clock, sent = keeping.tools.clock, []
        keeping.when_told = lambda: sent.append(clock())
        beating = asyncio.create_task(keeping.keeper.run())
        begun = clock()
        await asyncio.sleep(0.25)
        keeping.keeper.soon()
        await asyncio.sleep(0.5)
        assert sent == [begun, begun + 0.25]
        keeping.queue.hang.add("extend")
        await asyncio.sleep(0.75)  # one is under way since 1.25, and is given up at 4.25
        keeping.keeper.soon()
        keeping.queue.hang.clear()
        await asyncio.sleep(3)
        beating.cancel()
        assert sent[2:] == [begun + 4.25]

    run(main())


def test_a_term_that_was_ended_does_not_begin_again() -> None:
    async def main() -> None:
        keeping = Keeping()
        assert await keeping.keeper.beat()
        keeping.term.end()
        assert await keeping.keeper.beat(leaving=True)
        assert not keeping.term.fresh(keeping.tools.clock())

    run(main())


def test_a_heartbeat_that_hangs_does_not_cost_the_lease() -> None:
    async def main() -> None:
        keeping = Keeping()
        keeping.queue.hang.add("extend")
        before = keeping.tools.clock()
        assert not await keeping.keeper.beat()
        assert keeping.tools.clock() - before <= OPTIONS.margin
        assert keeping.told == []

    run(main())


def test_it_goes_on_through_an_outage() -> None:
    async def main() -> None:
        keeping = Keeping()
        keeping.queue.fail["extend"] = deque([Unavailable("away")] * 5 + [RuntimeError("bug")])
        beating = asyncio.create_task(keeping.keeper.run())
        await asyncio.sleep(9.5)
        assert len(keeping.queue.beats) == 10
        assert len(keeping.told) == 4
        assert keeping.renewals == 1
        keeping.queue.fail["extend"] = deque([Unavailable("away")] * 20)
        await asyncio.sleep(30)
        beating.cancel()
        assert keeping.renewals == 2

    run(main())


def test_registering_repeats_until_it_is_acknowledged() -> None:
    async def main() -> None:
        keeping = Keeping()
        keeping.queue.fail["extend"] = deque([Unavailable("away")] * 3)
        await keeping.keeper.register()
        assert len(keeping.queue.beats) == 4

    run(main())


def test_maintenance_runs_when_it_is_wanted_and_survives_errors() -> None:
    class Wanting(FakeQueue):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[float] = []
            self.waits = deque([0.5, 100.0, 0.0])

        async def maintain(self, budget: float) -> float:
            self.calls.append(asyncio.get_running_loop().time())
            if len(self.calls) == 4:
                raise Unavailable("away")
            return self.waits.popleft() if self.waits else 100.0

    async def main() -> None:
        queue = Wanting()
        task = asyncio.create_task(Caretaker(queue, tools()).run())
        await asyncio.sleep(10)
        task.cancel()
        gaps = [b - a for a, b in zip(queue.calls, queue.calls[1:], strict=False)]
        assert gaps[0] == 0.5
        assert gaps[1] == LONGEST
        assert gaps[2] < 0.1
        assert len(queue.calls) > 5

    run(main())


@pytest.mark.parametrize("stale", [False, True])
def test_what_comes_while_the_first_heartbeat_after_a_lease_is_under_way_is_lost(
    stale: bool,
) -> None:
    async def main() -> None:
        keeping = Keeping()
        assert await keeping.keeper.beat()
        await asyncio.sleep(OPTIONS.lease if stale else OPTIONS.heartbeat)
        named, lost, late = (make_job(name) for name in ("named", "lost", "late"))
        lost.lost = True
        keeping.desk.take(named)
        keeping.desk.take(lost)
        keeping.told.clear()
        keeping.queue.beats.clear()
        beating = asyncio.create_task(keeping.keeper.beat())
        while not keeping.queue.beats:
            await asyncio.sleep(0)
        keeping.desk.take(late)
        assert await beating
        told = [(names, reply.held) for names, reply in keeping.told]
        assert told == [(["job:named"], [Hold.KEPT]), (["job:late"], [Hold.LOST])][: 1 + stale]

    run(main())
