"""Schedules without number: a hundred here, a thousand in CI, ten thousand by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from simulation.bugs import BUGS
from simulation.plan import plan
from simulation.quiet import Touched, quiet
from simulation.sweep import steps, sweep
from simulation.world import simulate

ROOT = Path(__file__).parents[2]
#: The first seed at which a planted bug was found: the search begins a little before it.
FOUND = {"stale_start": 90, "lost_and_uncounted": 509, "unslotted_keys": 420}


@pytest.mark.parametrize("first", range(1, 101, 25))
def test_schedules_keep_every_promise(first: int) -> None:
    for seed in range(first, first + 25):
        report = simulate(seed)
        assert not report.violations, f"seed {seed}: make simulate REPLAY={seed}"


def test_a_schedule_is_as_large_as_promised() -> None:
    for seed in range(1, 101):
        given = plan(seed)
        assert given.workers >= 3
        assert len(given.jobs) >= 50
        assert len(given.faults) >= 5


def test_five_faults_at_least_struck_something() -> None:
    unlucky = [seed for seed in range(1, 101) if len(plan(seed).faults) == 5][:15]
    assert min(simulate(seed).faults for seed in unlucky) == 5


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.timeout(400)  # a seed after which the engine has changed is searched for anew
def test_a_planted_bug_is_found(bug: str) -> None:
    first = FOUND.get(bug, 1)
    for seed in range(first, first + 2000):
        if simulate(seed, bug=BUGS[bug]).violations:
            assert not simulate(seed).violations, "found, but not because of the bug"
            return
    raise AssertionError(f"{bug} was not found")


def test_a_worker_may_be_cancelled_at_any_step() -> None:
    numbers = range(1, steps() + 1, 5)
    assert len(numbers) > 20
    for step, violations in sweep(numbers):
        assert not violations, f"cancelled at step {step}"


def test_a_seed_means_the_same_in_every_process() -> None:
    code = "from simulation.world import simulate; print([simulate(s).digest for s in (3, 4, 5)])"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for salt in ("1", "2")
    }
    assert told == {str([simulate(seed).digest for seed in (3, 4, 5)])}


def test_other_seeds_are_other_schedules() -> None:
    assert len({simulate(seed).digest for seed in range(1, 6)}) == 5


def test_a_trace_tells_who_did_what_and_when() -> None:
    trace = simulate(2, trace=True).trace
    assert any(" w1 " in line and " starts " in line for line in trace)
    assert any(" fate " in line for line in trace)
    assert any(" broker " in line and " finished " in line for line in trace)


def test_real_time_and_threads_are_out_of_reach() -> None:
    with quiet():
        with pytest.raises(Touched):
            time.time()
        with pytest.raises(Touched):
            threading.Thread(target=print).start()
    assert time.time() > 0
