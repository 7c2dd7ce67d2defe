"""Many schedules, over several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from simulation.bugs import BUGS
from simulation.world import Report, simulate

#: Schedules that a process takes at once.
CHUNK = 25


def run_many(seeds: range, processes: int, bug: str | None = None) -> Iterator[Report]:
    """The reports, in the order of the seeds."""
    chunks = [seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK)]
    if processes <= 1:
        for chunk in chunks:
            yield from run_chunk(chunk, bug)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        for reports in pool.map(run_chunk, chunks, [bug] * len(chunks)):
            yield from reports


def run_chunk(seeds: range, bug: str | None = None) -> list[Report]:
    """The reports of some schedules, in one process."""
    return [simulate(seed, bug=BUGS[bug] if bug else None) for seed in seeds]
