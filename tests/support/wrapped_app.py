"""An app with middleware around isolated handlers; their children import it from here."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import anyio

from support.apps import make_app
from support.processes import URL
from xqueue_core import Context, RetryPolicy, TaskFailed, XQueue
from xqueue_core.around import CallNext


async def around(ctx: Context, call_next: CallNext) -> Any:
    """Wraps results, and where it is asked to swallows failures, or does not wait."""
    if ctx.type == "left":
        call = asyncio.ensure_future(call_next(ctx))
        await asyncio.wait([call], timeout=0.05)
        return "left"
    if ctx.type == "waited":
        value = await call_next(ctx)
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return [value, "decided"]
    try:
        value = await call_next(ctx)
    except TaskFailed as error:
        if "swallow" in ctx.headers:
            return ["swallowed", error.error_type]
        raise
    return [value, os.getpid()]


def make(url: str) -> tuple[XQueue, Any]:
    """The app, over this broker, and its handler that fails."""
    app = make_app(url, middleware=[around], lease=4.0, heartbeat=0.1, children=1)

    @app.task(isolation="process")
    def where() -> Any:
        return os.getpid()

    @app.task(isolation="process", max_retry=1, retry=RetryPolicy(base=0.01))
    def fails() -> Any:
        raise LookupError("in the child")

    @app.task(isolation="process", max_retry=0, process_timeout=0.3)
    def hangs() -> Any:
        time.sleep(60)

    @app.task(isolation="process", max_retry=0, process_timeout=0.3)
    def left() -> Any:
        time.sleep(60)

    @app.task(isolation="process", max_retry=0, process_timeout=0.5)
    def waited() -> Any:
        return os.getpid()

    return app, fails


if URL in os.environ:
    app, _ = make(os.environ[URL])
