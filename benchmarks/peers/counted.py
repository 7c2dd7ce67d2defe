"""What every Python program here shares: it counts what its handlers ran, and says when.

``peer.py submit URL COUNT`` submits so many no-op tasks; ``peer.py worker URL COUNT`` ends when so
many handlers have run. Either prints one line of JSON. A fourth argument names a variant.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable


class Counted:
    """Counts handlers; on any thread, since ``next`` of a count is one step."""

    def __init__(self, count: int, ends: bool = True) -> None:
        self.count = count
        self._ends = ends
        self._numbers = itertools.count(1)
        self._first = self._cpu = 0

    def ran(self) -> None:
        """One more handler has run. The last prints the report and, unless told not to, ends all.

        CPU is the whole process's between first and last: its threads count, its start does not.
        """
        number = next(self._numbers)
        if number == 1:
            self._first, self._cpu = time.monotonic_ns(), time.process_time_ns()
        if number == self.count:
            last, cpu = time.monotonic_ns(), time.process_time_ns()
            report(self.count, self._first, last, (cpu - self._cpu) / 1e9)
            if self._ends:
                os._exit(0)  # not sys.exit: this may be any thread, and nothing is waited for


def report(count: int, first: int, last: int, cpu: float) -> None:
    """Print a run: nanoseconds of CLOCK_MONOTONIC, and seconds of CPU."""
    figures = {"count": count, "first_ns": first, "last_ns": last, "cpu": cpu}
    print(json.dumps(figures), flush=True)


def main(submit: Callable[[str, int], None], work: Callable[[str, Counted], None]) -> None:
    """Do what the command line says."""
    action, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if action == "worker":
        work(url, Counted(count))
        raise SystemExit("the worker ended before its tasks had run")
    first, cpu = time.monotonic_ns(), time.process_time_ns()
    submit(url, count)
    report(count, first, time.monotonic_ns(), (time.process_time_ns() - cpu) / 1e9)


def variant() -> str:
    """The variant that was asked for, or nothing."""
    return sys.argv[4] if len(sys.argv) > 4 else ""


def chunks(count: int, size: int) -> list[int]:
    """How many tasks go into each bulk call, so that all together are ``count``."""
    return [min(size, count - n) for n in range(0, count, size)]
