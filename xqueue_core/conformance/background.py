"""Something that runs beside a case and can be stopped on its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup


class Background:
    """A function running in a task group until it ends or is stopped.

    What it raises ends the case. ``result`` is what it returned.
    """

    def __init__(self, group: TaskGroup, work: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self.result: Any = None
        group.start_soon(self._run, work, args)

    async def _run(self, work: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        try:
            with self._scope:
                self.result = await work(*args)
        finally:
            self._ended.set()

    @property
    def ended(self) -> bool:
        """True once it has returned or was stopped."""
        return self._ended.is_set()

    async def stop(self) -> None:
        """Cancel it, and wait until it has ended."""
        self._scope.cancel()
        await self._ended.wait()

    async def done(self) -> Any:
        """Wait until it has returned, and give what it returned."""
        await self._ended.wait()
        return self.result
