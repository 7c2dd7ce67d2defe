"""Runs the engine on a loop of its own, whose end waits for nothing that does not end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from xqueue_core.holding import LAST_WORDS

T = TypeVar("T")

logger = logging.getLogger("xqueue.worker")


class Hosting:
    """To be used in the engine's thread alone, which must be a daemon.

    Not an ``asyncio.Runner``, whose end waits for every task and every thread of the loop: for
    ever, where a plugin swallows its cancellation or blocks in ``asyncio.to_thread()``.

    Attributes:
        lingers: True if something does not end: :meth:`linger` then takes as long as that does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.lingers = False
        self._loop = loop
        self._rest: asyncio.Task[None] | None = None

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run this; then cancel what is left on the loop, which has a second to end, and close
        the loop if it does. Answers, or raises, what ``main`` does."""
        task = self._loop.create_task(main)
        over = False
        try:
            try:
                return self._loop.run_until_complete(task)
            finally:
                over = self._loop.run_until_complete(self._over(task))
        finally:
            if over:
                self._loop.close()
            else:
                self.lingers = True
                logger.warning("what a plugin or broker has left running is not waited for")

    def linger(self) -> None:
        """Let what was given up run until it ends, if ever; whatever it does, nobody is told."""
        if not self.lingers:
            return
        self._loop.set_exception_handler(lambda _loop, _context: None)
        try:
            if self._rest is not None:
                self._loop.run_until_complete(self._rest)
        except BaseException as error:  # noqa: BLE001 - this thread has nobody to raise it to
            logger.debug("what was given up has failed: %r", error)
        finally:
            for one in asyncio.all_tasks(self._loop):
                one._log_destroy_pending = False  # type: ignore[attr-defined]
            self._loop.close()

    async def _over(self, main: asyncio.Task[Any]) -> bool:
        """Cancel what is left. True if all of it, threads included, has ended soon."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for one in left:
            one.cancel()
        if not main.done():  # a task has raised SystemExit or the like, and not by way of it
            await asyncio.wait([main])
        self._rest = asyncio.create_task(self._end(left))
        await asyncio.wait([self._rest], timeout=LAST_WORDS)
        return self._rest.done()

    async def _end(self, left: set[asyncio.Task[Any]]) -> None:
        if left:
            await asyncio.wait(left)
        for one in left:
            if not one.cancelled() and (error := one.exception()) is not None:
                self._loop.call_exception_handler(
                    {"message": "a task failed when it was ended", "exception": error, "task": one}
                )
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()
