"""An app with a plugin that does not end, as the environment says; for processes of tests."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.apps import make_app
from support.processes import URL, note
from support.recorder import Recorder
from xqueue_core import XQueue
from xqueue_core.hooks import Hooks, Place, Site
from xqueue_core.plugged import PluginCache

#: What the plugin does.
HOW = "WORKER_TEST_PLUGIN"
#: Seconds that it blocks a thread.
LONG = 30.0


class Lingering(Recorder):
    """Blocks a thread, or swallows each cancellation."""

    places = (Place.WORKER,)

    @asynccontextmanager
    async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
        """As the environment says."""
        how = os.environ.get(HOW, "")
        note("opening")
        if how == "blocks when opened":
            await asyncio.to_thread(time.sleep, LONG)
        if how == "fails":
            asyncio.get_running_loop().run_in_executor(None, time.sleep, LONG)
            raise OSError("no collector")
        yield Hooks()
        if how == "blocks":
            await asyncio.to_thread(time.sleep, LONG)
        while how == "swallows":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                note("swallowed")


def make(url: str) -> XQueue:
    """The app, over this broker."""
    app = make_app(url, plugins=["lingering"], lease=4.0, heartbeat=0.2, lease_wait=1.0)
    app._plugins = PluginCache(lambda _name: Lingering())

    @app.task
    async def job() -> int:
        return os.getpid()

    return app


if URL in os.environ:
    app = make(os.environ[URL])
