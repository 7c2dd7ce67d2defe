"""Rules that change while old workers run, and schedules that nobody declares any more."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from support.fleet import Fleet, every, wanted
from support.virtual import run
from xqueue_core.worker.scheduler import ANNOUNCE, SILENCE


def test_a_changed_rule_while_old_workers_still_run() -> None:
    async def main() -> None:
        fleet = Fleet()
        for _ in range(2):
            await fleet.start(every(10))
        await asyncio.sleep(95)
        changed = fleet.wall()
        await fleet.start(every(7))
        await asyncio.sleep(200)
        await fleet.workers[0].crash()  # an old one starts again, as its container does
        await fleet.start(every(10))
        await asyncio.sleep(200)
        await fleet.stop()
        after = [slot for slot in fleet.slots() if slot > changed]
        assert after == wanted(changed, fleet.wall() - 0.3, 7)
        assert (await fleet.schedule()).rule == "tick every 7s"
        assert (await fleet.schedule()).version == 2

    run(main())


@pytest.mark.parametrize("starts", [False, True], ids=["ran all the time", "starts now"])
def test_the_rule_before_is_taken_up_again_once_the_new_one_is_gone(starts: bool) -> None:
    """A deploy that is rolled back: to workers that ran all the time, or start now."""

    async def main() -> None:
        fleet = Fleet()
        await fleet.start(every(10))
        await asyncio.sleep(30)
        new = await fleet.start(every(7))
        await asyncio.sleep(300)
        if starts:
            await fleet.workers[0].stop()
            await fleet.start(every(10))
            await asyncio.sleep(20)
        await new.stop()
        gone = fleet.wall()
        await asyncio.sleep(SILENCE + 3 * ANNOUNCE)
        back = fleet.wall()
        await asyncio.sleep(100)
        await fleet.stop()
        after = [slot for slot in fleet.slots() if slot > gone]
        assert after[-9:] == wanted(gone, fleet.wall() - 0.3, 10)[-9:]
        assert all(slot >= gone + SILENCE - 10 for slot in after)
        assert after[0] <= back
        assert (await fleet.schedule()).version == 3
        assert max(Counter(fleet.slots()).values()) == 1

    run(main())


def test_what_was_rolled_back_is_deployed_again_while_an_old_worker_runs() -> None:
    async def main() -> None:
        fleet = Fleet()
        await fleet.start(every(10))
        await asyncio.sleep(30)
        new = await fleet.start(every(7))
        await asyncio.sleep(100)
        await new.stop()
        await fleet.start(every(10))
        await asyncio.sleep(SILENCE + 3 * ANNOUNCE)
        assert (await fleet.schedule()).rule == "tick every 10s"
        again = fleet.wall()
        await fleet.start(every(7))
        await asyncio.sleep(200)
        await fleet.workers[0].crash()  # and starts again
        await fleet.start(every(10))
        await asyncio.sleep(200)
        await fleet.stop()
        after = [slot for slot in fleet.slots() if slot > again]
        assert after == wanted(again, fleet.wall() - 0.3, 7)
        assert (await fleet.schedule()).version == 4

    run(main())


def test_an_outage_does_not_bring_an_old_rule_back() -> None:
    async def main() -> None:
        fleet = Fleet()
        await fleet.start(every(1000))
        await asyncio.sleep(1)
        await fleet.start(every(700))
        await asyncio.sleep(100)
        for worker in fleet.workers:
            worker.queue.away = True
        await asyncio.sleep(10 * SILENCE)
        fleet.workers[0].queue.away = False  # the old one is the first to be back
        await asyncio.sleep(SILENCE / 2)
        fleet.workers[1].queue.away = False
        await asyncio.sleep(3 * SILENCE)
        assert (await fleet.schedule()).version == 2
        await fleet.stop()

    run(main())


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_a_broker_whose_clock_is_set_does_not_bring_an_old_rule_back(by: float) -> None:
    async def main() -> None:
        fleet = Fleet()
        for interval in (1000, 700):
            await fleet.start(every(interval))
            await asyncio.sleep(50)
        for _ in range(4):
            await asyncio.sleep(31)
            fleet.set += by
        await asyncio.sleep(3 * SILENCE)
        assert (await fleet.schedule()).version == 2
        await fleet.stop()

    run(main())


def test_a_schedule_that_nobody_declares_any_more_stops_and_stays_listed() -> None:
    async def main() -> None:
        fleet = Fleet()
        worker = await fleet.start(every(10))
        await asyncio.sleep(30)
        await worker.stop()
        count = len(fleet.runs)
        await fleet.start(lambda app, handler: app.task(handler))
        await asyncio.sleep(100)
        assert len(fleet.runs) == count
        assert (await fleet.schedule()).name == "often"
        await fleet.stop()

    run(main())
