"""Recurring schedules fired by several workers, on a virtual clock."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from support.fleet import Fleet, check, every, wanted
from support.virtual import run
from xqueue_core.worker.scheduler import ANNOUNCE


def test_three_workers_fire_each_slot_once() -> None:
    async def main() -> None:
        fleet = Fleet()
        begun = fleet.wall()
        for _ in range(3):
            await fleet.start(every(10))
        await asyncio.sleep(300.4)
        await fleet.stop()
        check(fleet, begun, 10)
        assert len(fleet.runs) == 30
        # From the second slot on whoever fired the last one is there first.
        assert sum(at - slot < 0.005 for at, slot in fleet.runs) >= 28
        assert fleet.calls["put"] <= 35

    run(main())


def test_a_slot_costs_a_put_and_a_look_by_each_other_worker() -> None:
    async def main() -> None:
        fleet = Fleet()
        for _ in range(3):
            await fleet.start(every(300))
        await asyncio.sleep(100)
        fleet.calls.clear()
        await asyncio.sleep(300)
        # Announcements every 15 s or so, and two looks at the one slot.
        assert fleet.calls["control"] <= 3 * 300 / (ANNOUNCE * 0.9) + 3
        assert 1 <= fleet.calls["put"] <= 3
        await fleet.stop()

    run(main())


@pytest.mark.parametrize("seed", range(6))
def test_the_firing_worker_is_killed_at_any_moment(seed: int) -> None:
    async def main() -> None:
        fleet, chance = Fleet(), random.Random(seed)
        begun = fleet.wall()
        for _ in range(3):
            await fleet.start(every(1, process_timeout=5, max_retry=1))
        for _ in range(12):
            await asyncio.sleep(chance.uniform(2, 6))
            # Around a slot's time, so that its put is under way, or just about to be.
            left = 1.0 - fleet.wall() % 1.0
            await asyncio.sleep(left + chance.choice((-0.002, 0.0, 0.0005, 0.15)))
            victim = chance.choice([one for one in fleet.workers if not one.queue.gone])
            await victim.crash()
            await fleet.start(every(1, process_timeout=5, max_retry=1))
        await asyncio.sleep(10)
        await fleet.between_slots(1)
        await fleet.stop()
        slots = fleet.slots()
        assert sorted(set(slots)) == wanted(begun, fleet.wall() - 0.3, 1)
        # One that was leased by a victim runs again, elsewhere and later; that is no second task.
        stats = await fleet.faces().view.stats()  # type: ignore[union-attr]
        assert stats.total().accepted == len(set(slots))

    run(main())


def test_a_put_whose_reply_is_lost_fires_once() -> None:
    async def main() -> None:
        fleet = Fleet()
        begun = fleet.wall()
        for _ in range(3):
            worker = await fleet.start(every(5))
            chance = random.Random(7)
            worker.queue.lose = lambda name, chance=chance: (  # type: ignore[misc]
                name in ("put", "control") and chance.random() < 0.4
            )
        await asyncio.sleep(200)
        await fleet.stop()
        check(fleet, begun, 5, late=4.0)

    run(main())


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_a_workers_own_wall_clock_decides_nothing(ahead: float) -> None:
    async def main() -> None:
        fleet = Fleet()
        begun = fleet.wall()
        await fleet.start(every(10), ahead)
        await fleet.start(every(10), -ahead)
        await fleet.start(every(10))
        await asyncio.sleep(120)
        await fleet.between_slots(10)
        await fleet.stop()
        check(fleet, begun, 10)

    run(main())


def test_a_broker_whose_clock_is_set() -> None:
    """Set back, nothing fires twice; set forward, what was jumped over counts as missed."""

    async def main() -> None:
        fleet = Fleet()
        for _ in range(2):
            await fleet.start(every(10))
        await asyncio.sleep(100)
        fleet.set = -50.0
        await asyncio.sleep(100)
        await fleet.between_slots(10)
        slots = fleet.slots()
        assert slots == sorted(set(slots))
        assert {b - a for a, b in pairwise(slots)} == {10.0}
        count = len(slots)
        fleet.set = 1000.0 - 50.0
        await asyncio.sleep(3)
        await fleet.stop()
        slots = fleet.slots()
        assert len(slots) == count + 1
        assert fleet.wall() - 13 < slots[-1] <= fleet.wall()

    run(main())


def test_a_worker_that_is_alone_fires_its_first_slot_in_time() -> None:
    """It has nobody to leave the slot to, as it does for as long as others may be there."""

    async def main() -> list[float]:
        lateness: list[float] = []
        for alone in (False, True):
            fleet = Fleet()
            worker = await fleet.start(every(10))
            await asyncio.sleep(0.5)
            if alone and worker.life.scheduler is not None:
                worker.life.scheduler.alone()
                assert worker.life.scheduler.wake % 10 == 0
            await asyncio.sleep(11)
            await fleet.stop()
            lateness.append(min(at - slot for at, slot in fleet.runs))
        return lateness

    shared, alone = run(main())
    assert shared > 0.05
    assert alone < 0.005
