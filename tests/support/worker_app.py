"""The app of the worker processes that tests start. A test imports it through ``make``."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from pathlib import Path

from support.apps import make_app
from support.processes import LOG, URL, note, notes
from xqueue_core import Context, RetryPolicy, XQueue


def make(url: str) -> XQueue:
    """The app, over this broker."""
    app = make_app(url, lease=2.0, heartbeat=0.2, lease_wait=1.0)

    @app.task(max_retry=0)
    async def nap(ctx: Context, seconds: float) -> int:
        note(f"start {ctx.id} {ctx.attempt} {os.getpid()}")
        await asyncio.sleep(seconds)
        note(f"end {ctx.id} {ctx.attempt} {os.getpid()}")
        return os.getpid()

    @app.task(max_retry=3, retry=RetryPolicy(base=0.01))
    def hang(ctx: Context, seconds: float) -> int:
        note(f"start {ctx.id} {ctx.attempt} {os.getpid()}")
        time.sleep(seconds)
        return os.getpid()

    @app.task
    async def block(ctx: Context, seconds: float) -> None:
        note(f"start {ctx.id} {ctx.attempt} {os.getpid()}")
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks the loop on purpose

    @app.task
    async def grab(ctx: Context, seconds: float) -> int:
        note(f"start {ctx.id} {ctx.token} {os.getpid()}")
        if sum(ctx.id in line for line in notes(Path(os.environ[LOG]))) == 1:
            ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # it holds the interpreter's lock
            note(f"end {ctx.id} {ctx.token} {os.getpid()}")
        return os.getpid()

    @app.task
    async def die(ctx: Context) -> None:
        note(f"start {ctx.id} {ctx.attempt} {os.getpid()}")
        os._exit(9)

    return app


if URL in os.environ:
    app = make(os.environ[URL])
