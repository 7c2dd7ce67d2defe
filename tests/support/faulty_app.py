"""An app whose handlers do what kills, blocks or deceives a worker, and say so in the history."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from pathlib import Path
from typing import Any

from support.apps import load
from support.history.events import Continued, Killed, Stopped
from support.history.handlers import run
from support.history.noting import NotingBackend
from support.history.writer import Writer, now
from support.processes import LOG, URL
from xqueue_core import Context, RetryPolicy, XQueue
from xqueue_core.connect import BackendCache

LEASE, HEARTBEAT = 2.0, 0.2
#: Other times of lease and heartbeat, in seconds with a comma.
TIMES = "FAULTY_TIMES"


def make(
    url: str, history: str, lease: float = LEASE, heartbeat: float = HEARTBEAT
) -> tuple[XQueue, dict[str, Any]]:
    """The app and its handlers by name."""
    app = XQueue(url, lease=lease, heartbeat=heartbeat, lease_wait=1.0)
    writer = Writer(history)
    app._backends = BackendCache(lambda name: NotingBackend(load(name), writer))
    retry = RetryPolicy(base=0.05, cap=0.2)

    @app.task(retry=retry)
    async def nap(ctx: Context, seconds: float, marker: str = "") -> int:
        """Sleeps; with a marker only the first time."""
        with run(writer, ctx):
            if not marker or _first(marker):
                await asyncio.sleep(seconds)
        return os.getpid()

    @app.task(retry=retry)
    async def poison(ctx: Context) -> None:
        """Ends its process, each time."""
        with run(writer, ctx):
            _dying(writer)
            os._exit(9)

    @app.task(retry=retry)
    def segfault(ctx: Context, marker: str) -> int:
        """Ends its process, the first time."""
        with run(writer, ctx):
            if _first(marker):
                _dying(writer)
                ctypes.string_at(0)
        return os.getpid()

    @app.task(retry=retry, process_timeout=None)
    async def block(ctx: Context, how: str, seconds: int, marker: str) -> str:
        """Keeps the event loop from running, the first time."""
        with run(writer, ctx):
            if _first(marker):
                _block(writer, how, seconds)
        return f"{how} on {os.getpid()}"

    @app.task(retry=retry, max_retry=0, process_timeout=0.5)
    async def stubborn(ctx: Context, seconds: float) -> str:
        """Swallows every cancellation until its time is over."""
        with run(writer, ctx):
            until = now() + seconds
            while now() < until:
                try:
                    await asyncio.sleep(0.1)
                except asyncio.CancelledError:
                    continue
        return "went on"

    return app, {one.name: one for one in (nap, poison, segfault, block, stubborn)}


def _dying(writer: Writer) -> None:
    at = now()
    writer.write(Killed(at=at, sent=at, pid=os.getpid()))


def _first(marker: str) -> bool:
    """True for the first caller of all processes."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _block(writer: Writer, how: str, seconds: int) -> None:
    if how == "sleep":
        time.sleep(seconds)  # gives the interpreter's lock up
    elif how == "spin":
        until = now() + seconds
        while now() < until:  # is asked to give it up every 5 ms
            pass
    else:
        # A call that keeps it: no thread of the process runs, as if the process were stopped.
        writer.write(Stopped(at=now(), pid=os.getpid()))
        ctypes.PyDLL(None).sleep(seconds)
        writer.write(Continued(at=now(), pid=os.getpid()))


if URL in os.environ:
    _times = map(float, os.environ.get(TIMES, f"{LEASE},{HEARTBEAT}").split(","))
    app, _ = make(os.environ[URL], os.environ[LOG], *_times)
