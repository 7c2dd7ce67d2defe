"""Handlers on trio. Imported only where trio runs, or is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

import trio
from trio.lowlevel import current_trio_token, spawn_system_task

from xqueue_core.worker.host.on_asyncio import nothing

logger = logging.getLogger("xqueue.worker")


class TrioHost:
    """A :class:`~xqueue_core.worker.host.Host` on the running loop of trio.

    Handlers are system tasks: they take a context, do not inherit the cancel scopes of whoever
    runs the worker (which drains instead), and end with trio's loop at the latest. Each has a
    cancel scope of its own.
    """

    #: asyncio's too: ``Context.check`` raises it in plain functions, which know no event loop.
    cancelled: tuple[type[BaseException], ...] = (trio.Cancelled, asyncio.CancelledError)

    def __init__(self) -> None:
        self._token = current_trio_token()

    def soon(self, call: Callable[[], None]) -> None:
        """Call it soon on the loop, in order."""
        self._token.run_sync_soon(_guarded, call)

    def spawn(self, work: Coroutine[Any, Any, None], context: Context) -> trio.CancelScope:
        """Run it in a cancel scope of its own."""
        scope = trio.CancelScope()
        spawn_system_task(_within, scope, work, name="xqueue-handler", context=context)
        return scope

    def later(self, delay: float, call: Callable[[], None]) -> trio.CancelScope:
        """Call it in so many seconds."""
        scope = trio.CancelScope()
        spawn_system_task(_alarm, scope, delay, call, name="xqueue-alarm")
        return scope

    def latch(self) -> TrioLatch:
        """A new latch."""
        return TrioLatch()

    def current(self) -> trio.lowlevel.Task:
        """The task that runs now."""
        return trio.lowlevel.current_task()

    def scope(self) -> trio.CancelScope:
        """A new scope, to be entered in the current task."""
        return trio.CancelScope()


class TrioLatch:
    """An event of trio."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """It has happened."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until it has happened."""
        await self._event.wait()

    async def held(self, told: Callable[[], object] = nothing) -> None:
        """Wait until it has happened, also when cancelled; that is raised afterwards."""
        with trio.CancelScope(shield=True):
            await self._event.wait()
        await trio.lowlevel.checkpoint_if_cancelled()


async def _within(scope: trio.CancelScope, work: Coroutine[Any, Any, None]) -> None:
    with scope:
        await work


async def _alarm(scope: trio.CancelScope, delay: float, call: Callable[[], None]) -> None:
    with scope:
        await trio.sleep(delay)
        _guarded(call)


def _guarded(call: Callable[[], None]) -> None:
    """On trio an error in a callback would end everything; here as on asyncio it is logged."""
    try:
        call()
    except Exception:
        logger.exception("a callback on the handlers' loop failed")
