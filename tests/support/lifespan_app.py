"""An app whose lifespan does what the environment says; for worker processes of tests."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from support.apps import make_app
from support.processes import URL, note
from xqueue_core import Context, XQueue

#: What the lifespan does.
HOW = "WORKER_TEST_LIFESPAN"
#: Seconds that it blocks the loop at its entry.
SECONDS = "WORKER_TEST_LIFESPAN_SECONDS"


@asynccontextmanager
async def lifespan(app: XQueue) -> AsyncIterator[str]:
    """As the environment says."""
    how = os.environ.get(HOW, "")
    if how == "fails at entry":
        raise OSError("no database")
    if how == "blocks at entry":
        note("entering")
        time.sleep(float(os.environ[SECONDS]))  # noqa: ASYNC251 - it blocks the loop on purpose
    yield "state"
    if how == "takes its time":
        await anyio.sleep(2.5)
    elif how == "fails at exit":
        raise OSError("cannot close")
    elif how == "hangs":
        await anyio.sleep(60)
    elif how == "blocks":
        time.sleep(60)  # noqa: ASYNC251 - it blocks the loop on purpose
    note("left")


def make(url: str) -> XQueue:
    """The app, over this broker."""
    app = make_app(url, lifespan=lifespan, lease=4.0, heartbeat=0.1, lease_wait=1.0)

    @app.task
    async def job(ctx: Context) -> str:
        note("ran")
        return str(ctx.state)

    return app


if URL in os.environ:
    app = make(os.environ[URL])
