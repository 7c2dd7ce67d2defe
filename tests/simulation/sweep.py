"""A short run, in which one worker is cancelled at every callback in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from simulation.plan import Job, Move, Plan
from simulation.world import World, simulate
from xqueue_core.task import Task

#: One for all: between two runs nothing differs but the step.
SEED = 1


def short(step: int | None) -> Plan:
    """Three workers and a dozen tasks; the first worker is told to stop after a while.

    ``step``: the callback of its engine before which it is cancelled.
    """
    lanes = ("a", "b", "k", "p")
    jobs = [
        Job(
            Task(
                id=f"{lane}:{n}",
                lane=lane,
                key="key0" if lane == "k" else None,
                key_limit=1 if lane == "k" else None,
                process_timeout=5.0,
            ),
            at=0.05 * n,
            takes=0.2,
            fails=1 if n == 5 else 0,
        )
        for n, lane in enumerate(lanes * 4)
    ]
    faults = [Move(1.0, "drain", 0, 0.5, {"twice": False})]
    if step is not None:
        faults.insert(0, Move(0.0, "cancel", 0, how={"step": step}))
    return Plan(
        SEED,
        3,
        embedded=False,
        loose=False,
        lag=0.0,
        flaky=0.0,
        jobs=jobs,
        faults=faults,
        wishes=[],
    )


def steps() -> int:
    """How many callbacks the first worker's engine runs, if it is left alone."""
    counted: list[World] = []
    simulate(SEED, given=short(None), watch=counted.append)
    [world] = counted
    return next(one for one in world.left if one.name == "w1").engine_strand.steps


def sweep(numbers: Iterable[int]) -> Iterator[tuple[int, list[str]]]:
    """For each step, the violations when the worker is cancelled there."""
    for step in numbers:
        for embedded in (False, True):
            given = replace(short(step), embedded=embedded)
            yield step, simulate(SEED, given=given).violations
