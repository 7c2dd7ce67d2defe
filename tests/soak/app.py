"""The app that the soak run's workers serve. They import it; everything comes by environment."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from support.apps import load
from support.history.handlers import run
from support.history.noting import NotingBackend
from support.history.writer import Writer
from support.processes import LOG, URL
from xqueue_core import Context, Retry, RetryPolicy, XQueue
from xqueue_core.connect import BackendCache

RETRY = RetryPolicy(base=0.2, cap=2.0)

#: Seconds of the lease; "1" if handlers in processes of their own are wanted.
LEASE = "SOAK_LEASE"
ISOLATED = "SOAK_ISOLATED"

#: Lanes with a limit, and the limit of each key.
LIMITS = {"narrow": 6, "strict": 1}
KEY_LIMIT = 2


def heartbeat(lease: float) -> float:
    """Twice as often as a worker would choose, which a machine that starves it needs."""
    return min(1.0, lease / 10)


def make(
    url: str, history: str, lease: float, *, isolated: bool = False
) -> tuple[XQueue, dict[str, Any]]:
    """The app and its handlers by name; they write into the history."""
    app = XQueue(url, lease=lease, heartbeat=heartbeat(lease), lease_wait=1.0, grace=5.0)
    writer = Writer(history)
    app._backends = BackendCache(lambda name: NotingBackend(load(name), writer))
    declared = [*_plain(app, writer), *_limited(app, writer)]
    if isolated:
        declared.append(_apart(app, writer))
    return app, {one.name: one for one in declared}


def _plain(app: XQueue, writer: Writer) -> list[Any]:
    """Those without a limit."""

    @app.task(retry=RETRY)
    async def quick(ctx: Context, ms: float, priority: int = 0) -> int:
        with run(writer, ctx, priority=priority):
            await asyncio.sleep(ms / 1000)
        return ctx.attempt

    @app.task(retry=RETRY)
    def plain(ctx: Context, ms: float) -> int:
        with run(writer, ctx):
            time.sleep(ms / 1000)
        return ctx.attempt

    @app.task(retry=RETRY, max_retry=2)
    async def flaky(ctx: Context, ms: float, fails: int) -> int:
        """Fails so many times before it succeeds, which may be more often than it may."""
        with run(writer, ctx):
            await asyncio.sleep(ms / 1000)
            if ctx.attempt == 2 <= fails:
                raise Retry(0.5)
            if ctx.attempt <= fails:
                raise RuntimeError(f"failure {ctx.attempt} of {fails}, as planned")
        return ctx.attempt

    @app.task(retry=RETRY)
    async def long(ctx: Context) -> int:
        """Longer than a cancel may take to arrive."""
        with run(writer, ctx):
            await asyncio.sleep(3.0)
        return ctx.attempt

    return [quick, plain, flaky, long]


def _limited(app: XQueue, writer: Writer) -> list[Any]:
    """Those with a limit of their lane or their key."""

    @app.task(retry=RETRY, max_concurrency=LIMITS["narrow"])
    async def narrow(ctx: Context, ms: float) -> int:
        with run(writer, ctx):
            await asyncio.sleep(ms / 1000)
        return ctx.attempt

    @app.task(retry=RETRY, max_concurrency=LIMITS["strict"])
    async def strict(ctx: Context, ms: float) -> int:
        with run(writer, ctx):
            await asyncio.sleep(ms / 1000)
        return ctx.attempt

    @app.task(retry=RETRY, key="{user}", key_concurrency=KEY_LIMIT)
    async def keyed(ctx: Context, user: str, ms: float) -> int:
        with run(writer, ctx, key=user):
            await asyncio.sleep(ms / 1000)
        return ctx.attempt

    return [narrow, strict, keyed]


def _apart(app: XQueue, writer: Writer) -> Any:
    """One in a process of its own."""

    @app.task(retry=RETRY, isolation="process")
    def apart(ctx: Context, ms: float) -> int:
        with run(writer, ctx, child_of=os.getppid()):
            time.sleep(ms / 1000)
        return ctx.attempt

    return apart


if URL in os.environ and LEASE in os.environ:
    app, _ = make(
        os.environ[URL],
        os.environ[LOG],
        float(os.environ[LEASE]),
        isolated=os.environ.get(ISOLATED) == "1",
    )
