"""A worker with its handlers on the event loop that a test names, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.workers import TIMES, until
from xqueue_core import XQueue
from xqueue_core.cli.loops import loops, run_on
from xqueue_core.worker import Worker

HOSTS = ("asyncio", "uvloop", "trio")


class Hosted(threading.Thread):
    """A worker on its loop."""

    def __init__(self, app: XQueue, host: str, **options: Any) -> None:
        super().__init__(daemon=True)
        self.host = host
        self.worker = Worker(app, loop_factory=loops(host), **{**TIMES, **options})
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run the worker."""
        try:
            run_on(self.host, self.worker.run, self._crash)
        except BaseException as error:
            self.error = error

    def _crash(self, error: BaseException) -> None:
        raise error

    async def ended(self, seconds: float = 20.0) -> BaseException | None:
        """Wait until it has ended; what it ended with."""
        await until("the worker ends", lambda: not self.is_alive(), seconds)
        return self.error


@asynccontextmanager
async def hosted(app: XQueue, host: str, **options: Any) -> AsyncIterator[Hosted]:
    """A worker of the app on this kind of loop; stopped at once at the end, without an error."""
    one = Hosted(app, host, **options)
    one.start()
    try:
        yield one
    finally:
        one.worker.stop()
        one.worker.stop()
        assert await one.ended() is None
