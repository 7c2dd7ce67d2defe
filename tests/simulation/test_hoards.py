"""Permits that lie unused while another worker waits for them: seen, whatever the cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from simulation.bugs import BUGS
from simulation.hoards import at_once
from simulation.plan import Job, Move, Plan
from simulation.world import simulate
from xqueue_core.task import Task

#: Which worker becomes busy is drawn.
SEEDS = range(1, 9)


def jobs(lane: str, count: int, takes: float, at: float, **options: Any) -> list[Job]:
    """So many alike, all at once."""
    return [
        Job(Task(id=f"{lane}:{at}.{n}", lane=lane, process_timeout=30.0, **options), at, takes)
        for n in range(count)
    ]


def plan(seed: int, jobs: list[Job], *moves: Move) -> Plan:
    """Three workers in fair weather; what operators wish, and one fault."""
    faults = [move for move in moves if move.name in ("sever", "crash")]
    wishes = [move for move in moves if move not in faults]
    return Plan(
        seed,
        3,
        embedded=seed % 2 == 0,
        loose=False,
        lag=0.0,
        flaky=0.0,
        jobs=jobs,
        faults=faults,
        wishes=wishes,
    )


#: Lane b, of two permits, has work for 13 s.
LIMITED = jobs("b", 80, 0.3, 0.5)


def fair(seed: int) -> Plan:
    """Nothing happens."""
    return plan(seed, LIMITED)


def quiet(seed: int) -> Plan:
    """One worker is to be quiet."""
    return plan(seed, LIMITED, Move(1.0, "quiet", 0, 9.0))


def severed(seed: int) -> Plan:
    """One cannot reach the queue."""
    how = {"weather": "hang" if seed % 2 else "refuse"}
    return plan(seed, LIMITED, Move(1.0, "sever", 0, 9.0, how))


def full(seed: int) -> Plan:
    """One has slots for nothing more."""
    return plan(seed, jobs("a", 4, 9.0, 0.0) + LIMITED)


def threaded(seed: int) -> Plan:
    """One has slots, and no thread, for more."""
    plain = jobs("p", 4, 9.0, 0.0) + jobs("p", 60, 0.3, 1.0)
    return plan(seed, plain, Move(0.5, "limit", how={"key": "lane:p", "limit": 6}))


def keyed(seed: int) -> Plan:
    """One has slots for nothing more, and fetches tasks of a key ahead."""
    line = jobs("k", 40, 0.2, 0.7, key="key0", key_limit=1)
    return plan(seed, jobs("a", 4, 9.0, 0.0) + line)


def alone(seed: int) -> Plan:
    """One runs a task that was lost twice, and nothing beside it."""
    crashes = [Move(at, "crash", worker) for at in (1.5, 5.0) for worker in range(3)]
    line = [replace(job, at=5.3) for job in LIMITED]
    return plan(seed, jobs("a", 1, 9.0, 0.0) + line, *crashes)


Make = Callable[[int], Plan]


@pytest.mark.parametrize("make", [fair, quiet, severed, full, threaded, keyed, alone])
def test_what_a_worker_cannot_use_serves_another(make: Make) -> None:
    for seed in SEEDS:
        assert not simulate(seed, given=make(seed)).violations, f"seed {seed}"


@pytest.mark.parametrize(
    ("bug", "make", "cause"),
    [
        ("hoarded_permits", quiet, "quiet"),
        ("hoarded_permits", severed, "cut off from the queue"),
        ("hoarded_permits", alone, "one is alone there"),
        ("unslotted_keys", keyed, "full, a task fetched ahead has one"),
    ],
)
def test_who_hoards_is_seen(bug: str, make: Make, cause: str) -> None:
    found = [
        line
        for seed in SEEDS
        for line in simulate(seed, given=make(seed), bug=BUGS[bug]).violations
        if line.startswith("hoards: ") and cause in line
    ]
    assert found, cause


def hoards(given: Plan) -> list[str]:
    """What the check says of one whose idle permits are never given back."""
    report = simulate(given.seed, given=given, bug=BUGS["hoarded_permits"])
    return [line for line in report.violations if line.startswith("hoards: ")]


def test_nobody_is_kept_from_permits_that_nothing_waits_for() -> None:
    few = replace(quiet(1), jobs=jobs("b", 4, 0.3, 0.5))
    assert hoards(quiet(1))
    assert not hoards(few)


def test_nor_who_could_not_use_them() -> None:
    one = replace(quiet(1), workers=1)
    paused = quiet(1)
    paused.wishes += [Move(1.5, "pause", how={"lane": "b"}), Move(9.0, "resume", how={"lane": "b"})]
    busy = replace(quiet(1), jobs=jobs("a", 12, 9.0, 0.0) + LIMITED)
    assert not hoards(one)
    assert not hoards(paused)
    assert not hoards(busy)


def test_a_suspect_that_waits_to_be_alone_may_keep_its_permit_meanwhile() -> None:
    """It is the one hoard that has a purpose: see ``parts.unused_keys``."""
    poison = [Job(msgspec.structs.replace(LIMITED[0].task, id="b:poison"), 0.5, poison=True)]
    assert not [
        line
        for line in simulate(3, given=plan(3, poison + jobs("a", 9, 1.0, 0.5))).violations
        if line.startswith("hoards: ")
    ]


def test_a_read_that_waits_is_no_read() -> None:
    async def forty_two() -> int:
        return 42

    class Waits:
        def __await__(self) -> Any:
            yield

    async def waits() -> None:
        await Waits()

    assert at_once(forty_two()) == 42
    with pytest.raises(AssertionError, match="waits"):
        at_once(waits())
