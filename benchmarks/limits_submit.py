"""Submits the tasks of one run: ``python -m benchmarks.limits_submit TASK COUNT KEYS``."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.limits_jobs import app, free, keyed, limited

#: Tasks handed to one ``submit_many``.
CHUNK = 2_000


async def submit(task: str, count: int, keys: int) -> None:
    """Submit so many tasks, the keys in turn."""
    handler = {"free": free, "limited": limited, "keyed": keyed}[task]
    async with app:
        for first in range(0, count, CHUNK):
            last = min(count, first + CHUNK)
            await app.submit_many(handler.call(str(n % keys)) for n in range(first, last))


if __name__ == "__main__":
    _, task_, count_, keys_ = sys.argv
    asyncio.run(submit(task_, int(count_), int(keys_)))
