"""Run many schedules, or one again: ``PYTHONPATH=tests python -m simulation --help``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from simulation.bugs import BUGS
from simulation.many import run_many
from simulation.sweep import steps, sweep
from simulation.world import Report, simulate

#: Violations of one schedule that are shown.
SHOWN = 5
#: Seconds between two lines that tell how far it is, on standard error.
TOLD_EVERY = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 0 only if nothing was violated."""
    options = _options(arguments)
    if options.replay is not None:
        return _replay(options.replay, options.bug)
    if options.sweep:
        return _sweep(options.sweep)
    seeds = range(options.seed, options.seed + options.count)
    begun = told = time.monotonic()
    digests: set[str] = set()
    bad = faults = tasks = 0
    for done, report in enumerate(run_many(seeds, options.processes, options.bug), 1):
        digests.add(report.digest)
        faults += report.faults
        tasks += report.tasks
        if report.violations:
            bad += 1
            _show(report, options.bug)
        if (now := time.monotonic()) - told >= TOLD_EVERY:
            told = now
            _tell(done, len(seeds), now - begun, bad)
    seconds = time.monotonic() - begun
    print(
        f"{len(seeds)} schedules ({faults} faults, {tasks} tasks, {len(digests)} distinct traces) "
        f"in {seconds:.1f} s, {len(seeds) / seconds:.1f} a second; {bad} with violations"
    )
    return 1 if bad else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("simulation", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many schedules")
    parser.add_argument("--seed", type=int, default=1, help="the first one's seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, help="run the schedule of this seed, and tell it")
    parser.add_argument("--sweep", type=int, help="cancel a worker at every so manyth callback")
    parser.add_argument("--bug", choices=sorted(BUGS), help="plant a bug first")
    return parser.parse_args(arguments)


def _show(report: Report, bug: str | None) -> None:
    more = f" --bug {bug}" if bug else ""
    print(f"seed {report.seed}: {len(report.violations)} violations")
    for line in report.violations[:SHOWN]:
        print(f"    {line}")
    print(
        f"    again: PYTHONPATH=tests {os.path.basename(sys.executable)} -m simulation "
        f"--replay {report.seed}{more}",
        flush=True,
    )


def _tell(done: int, count: int, seconds: float, bad: int) -> None:
    rate = done / seconds
    print(
        f"{done} of {count} schedules in {seconds:.0f} s, {rate:.1f} a second, about "
        f"{(count - done) / rate:.0f} s to go; {bad} with violations",
        file=sys.stderr,
        flush=True,
    )


def _replay(seed: int, bug: str | None) -> int:
    report = simulate(seed, bug=BUGS[bug] if bug else None, trace=True)
    print("\n".join(report.trace))
    print(
        f"seed {seed}: {report.tasks} tasks, {report.faults} faults, {report.seconds:.1f} virtual "
        f"seconds, trace {report.digest}; {len(report.violations)} violations"
    )
    for line in report.violations:
        print(f"    {line}")
    return 1 if report.violations else 0


def _sweep(stride: int) -> int:
    bad = 0
    numbers = range(1, steps() + 1, stride)
    for step, violations in sweep(numbers):
        bad += bool(violations)
        for line in violations[:SHOWN]:
            print(f"cancelled at step {step}: {line}", flush=True)
    print(f"cancelled at each of {len(numbers)} steps; {bad} with violations")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
