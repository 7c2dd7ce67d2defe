"""Handlers on an asyncio event loop, whoever made it: asyncio's own, or uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Literal


def nothing() -> None:
    """Do nothing."""


class AsyncioHost:
    """A :class:`~xqueue_core.worker.host.Host` on a loop of asyncio."""

    cancelled: tuple[type[BaseException], ...] = (asyncio.CancelledError,)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.soon = loop.call_soon_threadsafe

    def spawn(self, work: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
        """Run it as a task."""
        return self._loop.create_task(work, context=context)

    def later(self, delay: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call it in so many seconds."""
        return self._loop.call_later(delay, call)

    def latch(self) -> AsyncioLatch:
        """A new latch."""
        return AsyncioLatch(self._loop)

    def current(self) -> asyncio.Task[Any] | None:
        """The task that runs now, None outside of any."""
        return asyncio.current_task()

    def scope(self) -> AsyncioScope:
        """A new scope, to be entered in the current task."""
        return AsyncioScope()


class AsyncioScope:
    """A part of a task, which is cancelled as a whole."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()

    def __enter__(self) -> None:
        """From here on."""

    def __exit__(self, *error: object) -> Literal[False]:
        """To here."""
        return False

    def cancel(self) -> bool:
        """Cancel it; False if its task has ended."""
        return self._task is not None and self._task.cancel()


class AsyncioLatch:
    """A future that is only ever waited for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def set(self) -> None:
        """It has happened."""
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Wait until it has happened."""
        await asyncio.wait([self._future])

    async def held(self, told: Callable[[], object] = nothing) -> None:
        """Wait until it has happened, also when cancelled; that is raised afterwards."""
        interrupted: asyncio.CancelledError | None = None
        while not self._future.done():
            try:
                await asyncio.wait([self._future])
            except asyncio.CancelledError as error:
                interrupted = error
                told()
        if interrupted is not None:
            raise interrupted
