"""Workers and apps for tests of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from xqueue_core import XQueue
from xqueue_core.worker import Worker

#: Short enough for a test, long enough for a busy machine.
TIMES: dict[str, Any] = {"lease": 4.0, "heartbeat": 0.1, "lease_wait": 1.0, "grace": 5.0}


async def until(
    what: str, condition: Callable[[], Any], seconds: float = 15.0, every: float = 0.01
) -> Any:
    """Wait until the condition holds; its value. AssertionError says that ``what`` did not."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"within {seconds} s it did not come about: {what}") from None


@asynccontextmanager
async def working(app: XQueue, **options: Any) -> AsyncIterator[Worker]:
    """A worker of the app, running on this loop; stopped at once at the end."""
    worker = Worker(app, **{**TIMES, **options})
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        worker.stop()
        await asyncio.wait_for(running, 20)
