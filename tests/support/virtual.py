"""An event loop whose clock moves only when nothing else can happen: no test waits for time."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from xqueue_core.worker.tools import Tools

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Jumping(self))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds."""
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise AssertionError("everything waits, and nothing will ever happen")
        self._loop.now += max(timeout, 0.0)
        return []


def run(coroutine: Coroutine[Any, Any, T], seconds: float = 3600.0) -> T:
    """Run on a virtual loop; TimeoutError after so many virtual seconds."""

    async def main() -> T:
        async with asyncio.timeout(seconds):
            return await coroutine

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def tools(seed: int = 0) -> Tools:
    """Tools on the running loop's clock."""
    loop = asyncio.get_running_loop()
    return Tools(clock=loop.time, wall=loop.time, random=random.Random(seed))
