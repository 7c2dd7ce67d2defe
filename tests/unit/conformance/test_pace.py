"""A wait of the kit is for the backend, not for the machine that everything shares."""

from __future__ import annotations

import sys
import time

import anyio
import anyio.lowlevel
import pytest

from unit.conformance.broken import BrokenHarness
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import Case
from xqueue_core.conformance.pace import FAIR, MOST, TICK, TURN, Pace
from xqueue_core.conformance.run import on_loop, run_case

pytestmark = pytest.mark.anyio


def starve(seconds: float) -> None:
    """What a machine with other things to do does to an event loop."""
    time.sleep(seconds)


async def test_time_in_which_nothing_could_run_does_not_count() -> None:
    async with anyio.create_task_group() as group:
        pace = Pace()
        group.start_soon(pace.watch)
        await anyio.sleep(TICK / 2)
        wait = pace.wait(1.0)
        starve(0.6)
        await anyio.sleep(2 * TICK)
        assert pace.lost >= 0.6 - TICK - FAIR
        assert wait.left() > 0.7
        group.cancel_scope.cancel()


async def test_a_heartbeat_that_comes_late_lengthens_the_waits() -> None:
    """Nobody is judged after it, so whoever waits for a dead worker's tasks waits longer."""
    pace = Pace()
    wait = pace.wait(1.0)
    pace.held_up(-0.5)
    assert wait.left() <= 1.0
    pace.held_up(0.5)
    assert wait.left() > 1.0


def test_threads_take_turns_quickly_while_cases_run() -> None:
    before = sys.getswitchinterval()
    seen: list[float] = []

    async def look() -> None:
        seen.append(sys.getswitchinterval())

    on_loop("asyncio", look)
    assert seen == [pytest.approx(TURN)]
    assert sys.getswitchinterval() == before


async def test_time_in_which_things_run_counts_and_no_wait_is_endless() -> None:
    pace = Pace()
    wait = pace.wait(0.05)
    await anyio.sleep(0.06)
    assert wait.left() <= 0
    pace._lost += 1e6
    assert 0 < wait.left() <= MOST * 0.05


@pytest.mark.parametrize(("looks", "holds"), [(5, True), (10_000, False)])
async def test_a_case_on_a_busy_machine_fails_only_for_its_backend(looks: int, holds: bool) -> None:
    seen = 0

    async def story(bench: Bench) -> None:
        async def ready() -> bool:
            nonlocal seen
            seen += 1
            if 1 < seen < min(looks, 6):  # by then the watch has begun
                starve(0.2)
            return seen >= looks

        await bench.until("it is ready", ready, within=0.3)

    case = Case("X1", story, deadline=0.6)
    result = await run_case(BrokenHarness(), case)
    assert result.passed is holds
    assert holds or "waited 0.3 s in vain until it is ready" in result.message
