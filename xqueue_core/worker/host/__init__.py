"""The event loop that handlers run on, as the worker sees it: asyncio (uvloop too) or trio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Protocol

from xqueue_core.errors import Unsupported
from xqueue_core.worker.host.on_asyncio import AsyncioHost, nothing


class Stoppable(Protocol):
    """What was begun, and can be stopped."""

    def cancel(self) -> object:
        """Stop it, as far as it goes; does nothing after its end. On the host's loop only."""


class Scope(Protocol):
    """What of the current task can be cancelled by itself, on trio, or else with the task."""

    def __enter__(self) -> object:
        """From here on."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool:
        """To here. True if what comes out of it is its own cancellation, and goes no further."""

    def cancel(self) -> object:
        """Cancel it; False if its task has ended."""


class Latch(Protocol):
    """Lets one coroutine wait for something that happens once."""

    def set(self) -> None:
        """It has happened. On the host's loop only; again, it does nothing."""

    async def wait(self) -> None:
        """Wait until it has happened."""

    async def held(self, told: Callable[[], object] = nothing) -> None:
        """Wait until it has happened, also when cancelled; that is raised afterwards.

        ``told`` is called each time that happens; on trio, where it lasts, it may not be.
        """


class Host(Protocol):
    """The handlers' event loop. All but :meth:`soon` is called on it."""

    @property
    def cancelled(self) -> tuple[type[BaseException], ...]:
        """What is raised in a coroutine that is cancelled."""

    def soon(self, call: Callable[[], None]) -> object:
        """Call it soon on the loop, in order. From any thread.

        Raises RuntimeError if the loop has ended.
        """

    def spawn(self, work: Coroutine[Any, Any, None], context: Context) -> Stoppable:
        """Run a coroutine, which must not raise, beside everything else, in this context."""

    def later(self, delay: float, call: Callable[[], None]) -> Stoppable:
        """Call it in so many seconds."""

    def latch(self) -> Latch:
        """A new latch."""

    def current(self) -> object:
        """The task that runs now, None outside of any."""

    def scope(self) -> Scope:
        """A new scope, to be entered in the current task."""


def current_host() -> Host:
    """The host of the running event loop. Raises Unsupported if none of asyncio or trio runs."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        from xqueue_core.worker.host.on_trio import TrioHost

        return TrioHost()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError as error:
        raise Unsupported("a worker runs on asyncio or trio, and neither runs here") from error
    return AsyncioHost(loop)
