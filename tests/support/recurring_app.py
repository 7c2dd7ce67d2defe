"""The app of worker processes with recurring schedules."""

from __future__ import annotations

import os
import time

from support.apps import make_app
from support.processes import URL, note
from xqueue_core import Context, XQueue


def make(url: str) -> XQueue:
    """The app, over this broker."""
    app = make_app(url, lease=2.0, heartbeat=0.2, lease_wait=1.0)

    @app.every(0.5, overlap="allow", max_retry=0)
    @app.task
    async def tick(ctx: Context) -> None:
        assert ctx.slot is not None
        note(f"{ctx.slot.at} {time.time()} {ctx.id} {os.getpid()}")

    return app


if URL in os.environ:
    app = make(os.environ[URL])
