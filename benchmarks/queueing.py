"""Bulk submit, drain and pick-up through the public API."""

from __future__ import annotations

import asyncio
import os
import time

from benchmarks.figures import percentiles
from benchmarks.jobs import app as jobs
from benchmarks.jobs import clock, noop
from benchmarks.workers import burst, environment, running
from xqueue_core.task import State
from xqueue_core.views import Filter

#: Tasks handed to one ``submit_many``.
CHUNK = 5_000


async def submitted(count: int) -> float:
    """Submit no-op tasks in bulk; tasks per second."""
    began = time.perf_counter()
    for n in range(0, count, CHUNK):
        await jobs.submit_many(noop.call() for _ in range(min(CHUNK, count - n)))
    return count / (time.perf_counter() - began)


async def drained(count: int, url: str, durability: str) -> float:
    """Have one worker process drain ``count`` no-op tasks; tasks per second.

    From the first lease to the last end, as the broker recorded them: the start of the process
    is not in it.
    """
    await asyncio.to_thread(burst, url, durability)
    first, last, seen = float("inf"), 0.0, 0
    async with jobs.connect() as connection:
        view, after = connection.faces.needed("view"), None
        done = Filter(states=frozenset({State.SUCCESS}), types=frozenset({"noop"}))
        while True:
            page = await view.list(done, after, 1_000)
            for info in page.items:
                first, last = min(first, info.started_at), max(last, info.finished_at)
                seen += 1
            after = page.next
            if after is None:
                break
    if seen != count:
        raise RuntimeError(f"{seen} of {count} tasks were done")
    return count / (last - first)


async def picked_up(samples: int, url: str, durability: str) -> list[float]:
    """Submit one task at a time to an idle worker in another process.

    Milliseconds from before the submit to the handler's first instruction, of each.
    """
    waits: list[float] = []
    with running(url, durability):
        await (await clock.submit()).result(timeout=60)
        for _ in range(samples):
            began = time.monotonic_ns()
            handle = await clock.submit()
            waits.append((await handle.result(timeout=60) - began) / 1e6)
            await asyncio.sleep(0.02)  # the worker is idle again
    return waits


async def measured(url: str, durability: str, count: int, samples: int) -> dict[str, float]:
    """All three, in this process and worker processes of their own."""
    os.environ.update({k: v for k, v in environment(url, durability).items() if "XQUEUE" in k})
    async with jobs:
        submit = await submitted(count)
        drain = await drained(count, url, durability)
        waits = await picked_up(samples, url, durability)
    return {"submit": submit, "drain": drain, **percentiles(waits)}


if __name__ == "__main__":
    import json
    import sys

    _, url_, durability_, count_, samples_ = sys.argv
    figures = asyncio.run(measured(url_, durability_, int(count_), int(samples_)))
    print(json.dumps(figures))
