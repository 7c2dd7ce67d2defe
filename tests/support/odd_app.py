"""An app whose middleware and callbacks raise; as a script, its worker under a given id."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from support.apps import make_app
from support.processes import URL, note
from xqueue_core import Context, RetryPolicy, XQueue
from xqueue_core.around import CallNext
from xqueue_core.worker import Worker

RETRY = RetryPolicy(base=0.05, cap=0.1)


async def breaking(ctx: Context, call_next: CallNext) -> Any:
    """Raises before or after the handlers of these lanes."""
    if ctx.lane == "before":
        raise ValueError("before the handler")
    result = await call_next(ctx)
    if ctx.lane == "after":
        raise ValueError("after the handler")
    return result


def make(url: str) -> tuple[XQueue, dict[str, Any]]:
    """The app and its handlers by name."""
    app = make_app(url, lease=2.0, heartbeat=0.2, lease_wait=1.0, middleware=[breaking])

    @app.task(retry=RETRY, max_retry=1, max_concurrency=1)
    async def before(ctx: Context) -> None:
        note(f"before {ctx.id}")

    @app.task(retry=RETRY, max_retry=1, max_concurrency=1)
    async def after(ctx: Context) -> None:
        note(f"after {ctx.id}")

    @app.task(max_retry=0)
    async def callback() -> int:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: 1 / 0)
        task = loop.create_task(asyncio.sleep(0))
        task.add_done_callback(lambda _: int("none"))
        await task
        await asyncio.sleep(0.05)
        return os.getpid()

    @app.task(max_retry=0)
    async def nap(ctx: Context, seconds: float) -> int:
        note(f"nap {ctx.id}")
        await asyncio.sleep(seconds)
        return os.getpid()

    return app, {one.name: one for one in (before, after, callback, nap)}


if URL in os.environ:
    app, _ = make(os.environ[URL])

if __name__ == "__main__":
    worker = Worker(make(os.environ[URL])[0])
    worker.id = sys.argv[1]
    asyncio.run(worker.run())
