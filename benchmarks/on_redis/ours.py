"""The queue's part, by its public API.

``python -m benchmarks.on_redis.ours submit|single|clock|brief URL COUNT``, each in a process of its
own: in bulk, one by one, pick-ups of an idle worker, and in bulk what is soon forgotten.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from benchmarks import queueing
from benchmarks.jobs import app as clocks
from benchmarks.on_redis import jobs
from benchmarks.peers.counted import chunks, report
from benchmarks.workers import environment

#: Tasks handed to one ``submit_many``.
CHUNK = 5_000


def environ(url: str, count: int = 0) -> dict[str, str]:
    """The environment of the programs here and of workers."""
    return {**os.environ, "XQUEUE_URL": url, jobs.COUNT: str(count), "PYTHONPATH": paths()}


def paths() -> str:
    """This process's paths, so that its programs import what it imports."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def worker(*options: str) -> list[str]:
    """The command line of one worker of 100 slots."""
    app = str(Path(jobs.__file__))
    call = [sys.executable, "-m", "xqueue_core.cli", "worker", app, "--log-level", "WARNING"]
    return [*call, "--concurrency", "100", *options]


def program(action: str, url: str, count: int) -> list[str]:
    """The command line of one of the programs here."""
    return [sys.executable, "-m", "benchmarks.on_redis.ours", action, url, str(count)]


async def many(action: str, count: int) -> None:
    """Submit in bulk."""
    task = jobs.brief if action == "brief" else jobs.noop
    for size in chunks(count, CHUNK):
        await jobs.app.submit_many(task.call() for _ in range(size))


async def single(count: int) -> None:
    """Submit one by one, on the caller's own loop."""
    for _ in range(count):
        await jobs.noop.submit()


async def submitted(action: str, count: int) -> None:
    """Submit, and print how it went."""
    async with jobs.app:
        first, cpu = time.monotonic_ns(), time.process_time_ns()
        await (single(count) if action == "single" else many(action, count))
        report(count, first, time.monotonic_ns(), (time.process_time_ns() - cpu) / 1e9)


async def picked_up(url: str, samples: int) -> None:
    """Print the milliseconds of each pick-up."""
    async with clocks:
        print(json.dumps(await queueing.picked_up(samples, url, "process")))


def main() -> None:
    """Do what the command line says."""
    _, action, url, count = sys.argv
    os.environ.update({k: v for k, v in environment(url, "process").items() if "XQUEUE" in k})
    if action == "clock":
        asyncio.run(picked_up(url, int(count)))
    else:
        asyncio.run(submitted(action, int(count)))


if __name__ == "__main__":
    main()
