"""An app whose lanes and keys have limits, for real worker processes."""

from __future__ import annotations

import asyncio
import os
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from support.apps import make_app
from support.processes import URL, note, notes
from xqueue_core import XQueue

#: The broker of the semaphore, where it is another one.
SEMAPHORE = "LIMITS_TEST_SEMAPHORE"


def make(url: str, semaphore: str | None = None) -> XQueue:
    """The app, over this broker."""
    times: dict[str, Any] = {"lease": 2.0, "heartbeat": 0.2, "lease_wait": 1.0}
    app = make_app(url, semaphore_url=semaphore, **times)

    @app.task(max_concurrency=3, max_retry=100)
    async def a(seconds: float) -> None:
        await work("a", seconds)

    @app.task(max_concurrency=5, max_retry=100)
    async def b(seconds: float) -> None:
        await work("b", seconds)

    @app.task(key="{key}", key_concurrency=1, max_retry=100)
    async def keyed(key: str, seconds: float) -> None:
        await work(f"keyed/{key}", seconds)

    return app


async def work(name: str, seconds: float) -> None:
    """Take some time, and write down when: what is cut short has a start alone."""
    number = time.monotonic_ns()
    note(f"start {name} {number} {number} {os.getpid()}")
    await asyncio.sleep(seconds)
    note(f"end {name} {time.monotonic_ns()} {number} {os.getpid()}")


def running(log: Path, name: str, killed: dict[int, int] | None = None) -> list[tuple[int, int]]:
    """How many of this name ran from when on (nanoseconds), in order.

    Args:
        killed: processes that were killed, and when: nothing of theirs ran on.
    """
    steps: list[tuple[int, int]] = []
    open_: dict[tuple[str, str], int] = {}
    for line in notes(log):
        what, whose, at, number, pid = line.split()
        if whose != name:
            continue
        steps.append((int(at), 1 if what == "start" else -1))
        if what == "start":
            open_[number, pid] = 1
        else:
            open_.pop((number, pid), None)
    for _, pid in open_:
        if killed and int(pid) in killed:
            steps.append((killed[int(pid)], -1))
    found: list[tuple[int, int]] = []
    count = 0
    for at, together in groupby(sorted(steps), key=lambda step: step[0]):
        count += sum(step for _, step in together)
        found.append((at, count))
    return found


def share(counts: list[tuple[int, int]], wanted: int, begin: int, end: int) -> float:
    """The part of the time between two moments in which exactly so many ran."""
    spent = 0
    before = (begin, 0)
    for at, count in [*counts, (end, 0)]:
        if before[1] == wanted:
            spent += max(0, min(at, end) - max(before[0], begin))
        before = (at, count)
    return spent / (end - begin)


def most(counts: list[tuple[int, int]], begin: int = 0) -> int:
    """The most that ever ran from a moment on."""
    held = [count for at, count in counts if at <= begin][-1:]
    return max([*held, *(count for at, count in counts if at > begin)], default=0)


if URL in os.environ:
    app = make(os.environ[URL], os.environ.get(SEMAPHORE))
