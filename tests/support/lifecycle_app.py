"""The app of worker processes that are stopped, killed and blocked. Tests use :func:`make`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time

from support.apps import make_app
from support.processes import URL, note
from xqueue_core import Context, XQueue

#: Lease of the workers (seconds).
LEASE = "WORKER_TEST_LEASE"
#: Where importing the app takes long: "supervised", or "always".
SLOW = "WORKER_TEST_SLOW"
#: With this, a supervised process dies at once.
BROKEN = "WORKER_TEST_BROKEN"


def make(url: str) -> XQueue:
    """The app, over this broker."""
    lease = float(os.environ.get(LEASE, "2"))
    app = make_app(url, lease=lease, lease_wait=1.0)

    @app.task(process_timeout=None)
    async def nap(ctx: Context, seconds: float) -> int:
        note(f"start {ctx.id} {time.time()} {os.getpid()}")
        await asyncio.sleep(seconds)
        return os.getpid()

    @app.task(process_timeout=None)
    async def sleep(ctx: Context, seconds: float) -> None:
        note(f"start {ctx.id} {time.time()} {os.getpid()}")
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks the loop on purpose

    @app.task(process_timeout=None)
    async def spin(ctx: Context, seconds: float) -> None:
        note(f"start {ctx.id} {time.time()} {os.getpid()}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    @app.task(process_timeout=None)
    async def lock(ctx: Context, seconds: float) -> None:
        note(f"start {ctx.id} {time.time()} {os.getpid()}")
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # it holds the interpreter's lock

    @app.task(process_timeout=None)
    def ticks(ctx: Context, seconds: float) -> None:
        note(f"start {ctx.id} {time.time()} {os.getpid()}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.005)
            note(f"tick {ctx.id} {time.time()} {os.getpid()}")

    @app.task(process_timeout=None, isolation="process")
    def isolated(ctx: Context, seconds: float) -> None:
        note(f"start {ctx.id} {time.time()} {os.getpid()}")
        time.sleep(seconds)

    return app


if URL in os.environ:
    here = "supervised" if "--supervised" in sys.argv else "single"
    if os.environ.get(BROKEN) and here == "supervised":
        os._exit(3)
    if os.environ.get(SLOW) in (here, "always"):
        note(f"importing - {time.time()} {os.getpid()}")
        time.sleep(60)
    app = make(os.environ[URL])
