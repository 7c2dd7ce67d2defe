"""The app of the tests of isolated handlers: children import it, so it stands in a module.

Its broker and the file that handlers write to come by the environment.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from support.apps import make_app
from support.processes import LOG, URL, note
from xqueue_core import Context, Reject, Retry, RetryPolicy, XQueue

SOON = RetryPolicy(base=0.01, no_retry=(LookupError,))


def make(url: str) -> XQueue:
    """The app, over this broker."""
    app = make_app(url, lease=4.0, heartbeat=0.1, lease_wait=1.0, children=2)
    succeed(app)
    speak(app)
    fail(app)
    run_on(app)
    die(app)
    outlive(app)
    return app


def said(ctx: Context, *more: object) -> None:
    """Note who began what."""
    if LOG in os.environ:
        note(" ".join(map(str, (ctx.id, ctx.attempt, os.getpid(), *more))))


def succeed(app: XQueue) -> None:
    """Handlers that return."""

    @app.task(isolation="process")
    def add(left: int, right: int) -> int:
        return left + right

    @app.task(isolation="process")
    async def add_later(ctx: Context, left: int, right: int) -> int:
        await asyncio.sleep(0)
        return left + right

    @app.task(isolation="process")
    def look(ctx: Context) -> dict[str, Any]:
        return {
            "id": ctx.id,
            "attempt": ctx.attempt,
            "token": ctx.token > 0,
            "tenant": ctx.headers.get("tenant"),
            "accepted": ctx.accepted_at > 0,
            "worker": ctx.worker,
            "remaining": ctx.remaining,
            "canceled": ctx.canceled,
            "pid": os.getpid(),
            "parent": os.getppid(),
            "session": os.getsid(0),
        }


def speak(app: XQueue) -> None:
    """Handlers that show what else crosses, and the ordinary ones beside them."""

    @app.task(isolation="process")
    def steps(ctx: Context) -> None:
        for n in range(1, 4):
            ctx.progress_nowait(done=n, total=3)

    @app.task(isolation="process")
    def files() -> list[str]:
        """Where each open descriptor leads, but for the three standard ones and our own."""
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                continue
        return found

    @app.task(isolation="process")
    async def submit(n: int) -> str:
        handle = await app.submit("add", left=n, right=1)
        return handle.id

    @app.task(isolation="process")
    def submit_plain(ctx: Context, n: int) -> str:
        id: str = ctx.app.sync.submit("add", left=n, right=1).id
        return id

    @app.task
    async def neighbour(n: int) -> int:
        return n

    @app.task
    async def pulse(ctx: Context, seconds: float) -> float:
        """The longest gap between two turns of the worker's loop."""
        import anyio  # not in children

        longest, last, until = 0.0, time.monotonic(), time.monotonic() + seconds
        while last < until:
            await anyio.sleep(0.01)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        return longest


def fail(app: XQueue) -> None:
    """Handlers that raise."""

    @app.task(isolation="process", max_retry=1, retry=SOON)
    def broken(ctx: Context) -> None:
        said(ctx)
        raise ValueError("no luck")

    @app.task(isolation="process", max_retry=2, retry=SOON)
    def refuse(how: str) -> None:
        raise Reject("bad input") if how == "reject" else KeyError("x")

    @app.task(isolation="process", retry=RetryPolicy(base=3600))
    async def shy(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise Retry(delay=0.01)
        return ctx.attempt

    @app.task(isolation="process", max_retry=0)
    def leave() -> None:
        sys.exit(3)

    @app.task(isolation="process")
    def large(size: int) -> str:
        return "x" * size

    @app.task(isolation="process", max_retry=0, max_memory=256)
    def devour(ctx: Context) -> int:
        taken = []
        while True:
            taken.append(bytearray(8 << 20))


def run_on(app: XQueue) -> None:
    """Handlers that do not end by themselves."""

    @app.task(isolation="process", max_retry=0)
    def spin(ctx: Context) -> None:
        said(ctx)
        while True:
            pass

    @app.task(isolation="process", max_retry=1, retry=SOON)
    def hold_gil(ctx: Context) -> None:
        said(ctx)
        ctypes.PyDLL(None).sleep(60)

    @app.task(isolation="process", max_retry=0)
    async def sleep(ctx: Context, seconds: float) -> int:
        said(ctx)
        await asyncio.sleep(seconds)
        return os.getpid()

    @app.task(isolation="process", max_retry=0)
    def breed(ctx: Context, group: bool = False) -> None:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(command, process_group=0 if group else None)
        said(ctx, child.pid)
        child.wait()

    @app.task(isolation="process")
    def leave_behind() -> int:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid


def die(app: XQueue) -> None:
    """Handlers that end their process."""

    @app.task(isolation="process", max_retry=1, retry=SOON)
    def crash(ctx: Context, how: str) -> None:
        said(ctx)
        if how == "exit":
            os._exit(9)
        elif how == "segfault":
            ctypes.string_at(0)
        else:
            os.kill(os.getpid(), getattr(signal, how))
            time.sleep(60)

    @app.task(isolation="process", max_retry=1, retry=SOON)
    def cut(ctx: Context) -> None:
        said(ctx)
        os.closerange(3, 200)


def outlive(app: XQueue) -> None:
    """Handlers whose process has trouble to end."""

    @app.task(isolation="process")
    def linger() -> str:
        threading.Thread(target=time.sleep, args=(60,)).start()
        return "done"


#: If it is set, importing this module fails with its text.
BROKEN = "ISOLATED_APP_BROKEN"

if BROKEN in os.environ:
    raise RuntimeError(os.environ[BROKEN])
if URL in os.environ:
    app = make(os.environ[URL])
