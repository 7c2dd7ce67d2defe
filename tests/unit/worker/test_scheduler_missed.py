"""Slots that were missed, and slots that pass while the run before is live."""

from __future__ import annotations

import asyncio

from support.fleet import EPOCH, Declare, Fleet, check, every, wanted
from support.virtual import run


async def outage(declare: Declare, seconds: float) -> tuple[Fleet, float, float]:
    """Three workers, of which the broker is away for some seconds: when it was."""
    fleet = Fleet()
    for _ in range(3):
        await fleet.start(declare)
    await asyncio.sleep(47.5)
    gone = fleet.wall()
    for worker in fleet.workers:
        worker.queue.away = True
    await asyncio.sleep(seconds)
    back = fleet.wall()
    for worker in fleet.workers:
        worker.queue.away = False
    await asyncio.sleep(25)
    await fleet.stop()
    slots = fleet.slots()
    assert slots == sorted(set(slots))
    return fleet, gone, back


def between(fleet: Fleet, gone: float, back: float) -> list[float]:
    """The slots of the outage that were run."""
    return [slot for slot in fleet.slots() if gone <= slot <= back]


def test_after_a_long_outage_the_latest_slot_is_made_up_for() -> None:
    async def main() -> None:
        fleet, gone, back = await outage(every(10), 300)
        assert between(fleet, gone, back) == wanted(gone, back, 10)[-1:]
        assert fleet.slots()[-2:] == wanted(back, fleet.wall() - 0.3, 10)[-2:]

    run(main())


def test_after_a_long_outage_all_slots_up_to_a_number_are_made_up_for() -> None:
    async def main() -> None:
        fleet, gone, back = await outage(every(10, missed="all"), 205)
        assert between(fleet, gone, back) == wanted(gone, back, 10)
        fleet, gone, back = await outage(every(1, missed="all"), 300)
        assert between(fleet, gone, back)[-1] == wanted(gone, back, 1)[-1]
        assert 97 <= len(between(fleet, gone, back)) <= 100

    run(main())


def test_after_a_long_outage_missed_slots_are_skipped() -> None:
    async def main() -> None:
        fleet, gone, back = await outage(every(100, missed="skip"), 245)
        assert between(fleet, gone, back) == []
        fleet, gone, back = await outage(every(10, missed="skip"), 100)
        assert between(fleet, gone, back) == wanted(gone, back, 10)[-1:]

    run(main())


def test_what_was_missed_since_the_first_sight_is_known_after_a_restart() -> None:
    """Before the schedule has ever fired."""

    async def main() -> None:
        fleet = Fleet()
        worker = await fleet.start(every(100))
        await asyncio.sleep(1)
        await worker.stop()
        assert fleet.runs == []
        first = (await fleet.schedule()).last
        assert EPOCH + 1000 <= first <= fleet.wall()
        await asyncio.sleep(250)
        await fleet.start(every(100))
        await asyncio.sleep(2)
        assert fleet.slots() == wanted(first, fleet.wall(), 100)[-1:]
        await fleet.stop()

    run(main())


def test_a_new_schedule_makes_up_for_nothing() -> None:
    async def main() -> None:
        fleet = Fleet()
        begun = fleet.wall()
        await fleet.start(every(100, missed="all"))
        await asyncio.sleep(50)
        await fleet.stop()
        assert fleet.slots() == wanted(begun, fleet.wall(), 100)

    run(main())


# -- overlap -----------------------------------------------------------------------------------


def test_a_slot_passes_while_the_run_before_is_live() -> None:
    async def main() -> None:
        fleet = Fleet()
        fleet.takes = 25.0
        begun = fleet.wall()
        for _ in range(3):
            await fleet.start(every(10))
        await asyncio.sleep(200)
        await fleet.stop()
        slots = wanted(begun, fleet.wall() - 5, 10)
        # Each run lasts through the next two slots.
        assert fleet.slots()[:6] == slots[0:18:3]
        last = (await fleet.schedule()).last
        assert last == wanted(begun, fleet.wall(), 10)[-1], "the slots between were consumed"

    run(main())


def test_runs_overlap_if_they_are_allowed_to() -> None:
    async def main() -> None:
        fleet = Fleet()
        fleet.takes = 25.0
        begun = fleet.wall()
        for _ in range(3):
            await fleet.start(every(10, overlap="allow"))
        await asyncio.sleep(200)
        check(fleet, begun, 10)
        await fleet.stop()

    run(main())
