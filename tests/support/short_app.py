"""An app of short tasks for many worker processes: a line at each start and each end."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from support.apps import make_app
from support.processes import URL, note
from xqueue_core import Context, XQueue


def make(url: str) -> tuple[XQueue, Any]:
    """The app, over this broker, and its handler."""
    app = make_app(url)

    @app.task
    async def short(ctx: Context, milliseconds: float) -> int:
        note(f"start {ctx.id} {os.getpid()}")
        await asyncio.sleep(milliseconds / 1000)
        note(f"end {ctx.id} {os.getpid()}")
        return os.getpid()

    return app, short


if URL in os.environ:
    app, _ = make(os.environ[URL])
