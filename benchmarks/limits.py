"""``python -m benchmarks.limits``: what limits cost, on SQLite, in worker processes of their own.

``lane``: workers with slots for as many as the limit allows, beside the same tasks without a
limit. ``keys``: a limit of 1 for each of 1,000 keys, beside the same tasks without keys. With
and without take turns (A-B-A), so that drift hits both alike; a rate is taken between the first
and the last tenth of a run, when all workers are busy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import limits_jobs as jobs
from benchmarks.figures import ratios

UNITS = {"rate": "tasks/s", "cpu": "ms/task"}

#: Makes an empty broker, in the folder if it is a file; its URL.
Broker = Callable[[Path], str]


def on_sqlite(folder: Path) -> str:
    """A file of its own for each run."""
    return f"sqlite:///{folder}/bench.db"


@dataclass(slots=True, frozen=True)
class Comparison:
    """The same tasks with and without a limit."""

    workers: int
    keys: int
    slots: int
    limited: str
    per_key: int | None  # at most so many of one key at a time


COMPARISONS = {
    "lane": Comparison(workers=4, keys=1, slots=10, limited="limited", per_key=jobs.SLOTS),
    "keys": Comparison(workers=2, keys=1_000, slots=10, limited="keyed", per_key=1),
}


@dataclass(slots=True, frozen=True)
class Ran:
    """One task as its handler saw it; nanoseconds of the clock all processes share."""

    key: str
    began: int
    ended: int


def main() -> int:
    """Compare; print a line for each comparison, and JSON where asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("what", nargs="*", help=f"of {', '.join(COMPARISONS)}; default all")
    parser.add_argument("--count", type=int, default=20_000, help="tasks of each run")
    parser.add_argument("--runs", type=int, default=5, help="runs with a limit")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if unknown := set(options.what) - set(COMPARISONS):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(COMPARISONS)}")
    report = {}
    for name in options.what or COMPARISONS:
        report[name] = series(COMPARISONS[name], options.count, options.runs)
        show(name, report[name])
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def series(
    comparison: Comparison, count: int, runs: int, broker: Broker = on_sqlite
) -> dict[str, list[float]]:
    """Figures without and with, and each ratio to the mean of the runs around it."""
    without = [one(comparison, "free", count, broker)]
    limited = []
    for _ in range(runs):
        limited.append(one(comparison, comparison.limited, count, broker))
        without.append(one(comparison, "free", count, broker))
    figures: dict[str, list[float]] = {}
    for n, name in enumerate(("rate", "cpu")):
        figures[f"{name} without"] = [run[n] for run in without]
        figures[f"{name} with"] = [run[n] for run in limited]
        figures[f"{name} ratio"] = ratios(figures[f"{name} with"], figures[f"{name} without"])
    return figures


def one(comparison: Comparison, task: str, count: int, broker: Broker) -> tuple[float, float]:
    """One run; tasks per second, and milliseconds of all workers' CPU per task.

    Raises RuntimeError if a limit was exceeded or a task did not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "ran.log")
        env = {**os.environ, "XQUEUE_URL": broker(Path(folder)), jobs.LOG: str(log)}
        call = [sys.executable, "-m", "benchmarks.limits_submit", task]
        subprocess.run([*call, str(count), str(comparison.keys)], env=env, check=True, timeout=300)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        asyncio.run(drained(comparison, env))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = read(log)
    if len(ran) != count:
        raise RuntimeError(f"{len(ran)} runs of {count} tasks")
    if task == comparison.limited:
        check(ran, comparison.per_key)
    ends = sorted(one.ended for one in ran)
    tenth = count // 10
    rate = (len(ends) - 2 * tenth) * 1e9 / (ends[-tenth - 1] - ends[tenth])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return rate, 1e3 * cpu / count


async def drained(comparison: Comparison, env: dict[str, str]) -> None:
    """Have all workers work until nothing is left."""
    call = [sys.executable, "-m", "xqueue_core.cli", "worker", str(Path(jobs.__file__))]
    options = ["--burst", "--log-level", "WARNING", "--concurrency", str(comparison.slots)]
    async with asyncio.timeout(600):
        workers = [
            await asyncio.create_subprocess_exec(*call, *options, env=env)
            for _ in range(comparison.workers)
        ]
        codes = [await worker.wait() for worker in workers]
    if any(codes):
        raise RuntimeError(f"workers ended with exit codes {codes}")


def read(log: Path) -> list[Ran]:
    """What the handlers wrote."""
    lines = (line.split() for line in log.read_text().splitlines())
    return [Ran(key, int(began), int(ended)) for key, began, ended in lines]


def check(ran: list[Ran], limit: int | None) -> None:
    """No more of one key ran at the same time than the limit allows. Raises RuntimeError."""
    steps = sorted(
        [(one.began, 1, one.key) for one in ran] + [(one.ended, -1, one.key) for one in ran]
    )
    now: dict[str, int] = {}
    for _, step, key in steps:
        now[key] = now.get(key, 0) + step
        if limit is not None and now[key] > limit:
            raise RuntimeError(f"key {key}: {now[key]} ran at once, and the limit is {limit}")


def show(name: str, figures: dict[str, list[float]]) -> None:
    """Print medians with their spread."""
    print(f"{name}, {len(figures['rate ratio'])} runs")
    for what, values in figures.items():
        unit = "" if what.endswith("ratio") else UNITS[what.split()[0]]
        digits = 0 if unit == "tasks/s" else 3
        low, mid, high = (f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))
        print(f"  {what:13} {mid:>8} {unit:11} ({low} to {high})")


if __name__ == "__main__":
    sys.exit(main())
