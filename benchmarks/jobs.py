"""The tasks that are measured. The worker processes load this file."""

from __future__ import annotations

import time

from xqueue_core import XQueue

app = XQueue()


@app.task
async def noop() -> None:
    """Nothing, so that all the time is the queue's."""


@app.task
async def clock() -> int:
    """When it started (nanoseconds of the clock that all processes of the host share)."""
    return time.monotonic_ns()
