"""Tasks that differ in their limit alone. The worker processes load this file."""

from __future__ import annotations

import asyncio
import os
import time

from xqueue_core import XQueue

#: Where the handlers write what they did: key, start and end in nanoseconds, a line each.
LOG = "LIMITS_BENCH_LOG"
#: Seconds a handler takes.
TAKES = 0.01
#: Slots of all workers of the first comparison, and the limit that equals them.
SLOTS = 40

app = XQueue()


async def worked(key: str) -> None:
    """Take some time, and say when that was: one write, so that lines never mix."""
    began = time.monotonic_ns()
    await asyncio.sleep(TAKES)
    line = f"{key} {began} {time.monotonic_ns()}\n".encode()
    fd = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line)
    os.close(fd)


@app.task
async def free(key: str) -> None:
    """No limit."""
    await worked(key)


@app.task(max_concurrency=SLOTS)
async def limited(key: str) -> None:
    """The lane's limit is what all workers together have slots for."""
    await worked(key)


@app.task(key="user_{key}", key_concurrency=1)
async def keyed(key: str) -> None:
    """One at a time of each key."""
    await worked(key)
