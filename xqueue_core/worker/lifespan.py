"""The app's lifespan: entered on the handlers' loop before work begins, left after its end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from enum import Enum, auto
from typing import Any

from xqueue_core.worker.host import Host, Stoppable

logger = logging.getLogger("xqueue.worker")

#: Seconds after which it is said that a lifespan is not entered yet, and that the loop has then
#: to answer, or else is called blocked.
SLOW, PATIENCE = 10.0, 1.0
#: Seconds that a lifespan which was cancelled has to end.
LAST_WORDS = 1.0


class Phase(Enum):
    """How far it is."""

    ENTERING = auto()
    INSIDE = auto()
    LEAVING = auto()
    OVER = auto()


class Lifespan:
    """One time through a lifespan, in a task of its own: what it opens may be bound to its task,
    as cancel scopes and task groups are.

    Attributes:
        state: what it has yielded.
        base: the contextvars as it has left them, for the handlers.

    Args:
        make: makes the context manager.
        fell: called if it ends before it was asked to.
    """

    def __init__(
        self,
        host: Host,
        make: Callable[[], AbstractAsyncContextManager[Any]],
        fell: Callable[[], None],
    ) -> None:
        self._host = host
        self._make = make
        self._fell = fell
        self.state: Any = None
        self.base = contextvars.copy_context()
        self._phase = Phase.ENTERING
        self._error: BaseException | None = None
        self._begun = self._canceled = False
        self._ready, self._end, self._over = host.latch(), host.latch(), host.latch()
        self._task: Stoppable | None = None

    async def enter(self) -> bool:
        """Enter it; False if :meth:`cancel` was called before it was done.

        Raises what it raises. When this is cancelled, so is the entry; if that came too late,
        it is :attr:`inside`, and must be left.
        """
        self._task = self._host.spawn(self._run(), contextvars.copy_context())
        try:
            await self._ready.wait()
        except BaseException:
            self.cancel()
            if not self.inside:
                await self._over.held()
            raise
        if self._canceled:
            return False
        if self._phase is Phase.OVER and self._error is not None:
            raise self._error
        return True

    @property
    def inside(self) -> bool:
        """It was entered, and has not begun to end."""
        return self._phase is Phase.INSIDE

    async def leave(self, seconds: float) -> None:
        """Leave it, also when this is cancelled.

        Raises what it raises, or TimeoutError if it takes longer than ``seconds``, or
        :meth:`cancel` was called meanwhile.
        """
        if self._phase is Phase.INSIDE:
            self._phase = Phase.LEAVING
        self._end.set()
        alarm = self._host.later(seconds, self.cancel)
        try:
            await self._over.held()
        finally:
            alarm.cancel()
        if self._canceled:
            raise TimeoutError(f"the app's lifespan was not left within {seconds:g} s")
        if self._error is not None:
            raise self._error

    def refuse(self) -> None:
        """Break off entering; does nothing later. On the handlers' loop."""
        if self._phase is Phase.ENTERING:
            self.cancel()

    def cancel(self) -> None:
        """Break off entering or leaving. Does nothing in between. On the handlers' loop."""
        if self._phase in (Phase.INSIDE, Phase.OVER) or self._canceled:
            return
        self._canceled = True
        if self._task is not None and self._begun:
            self._task.cancel()
        self._host.later(LAST_WORDS, self._give_up)

    async def _run(self) -> None:
        self._begun = True
        try:
            if self._canceled:
                raise asyncio.CancelledError
            async with self._make() as self.state:
                self.base = contextvars.copy_context()
                if not self._canceled:  # else nobody waits for it: it is left at once
                    self._phase = Phase.INSIDE
                    self._ready.set()
                    await self._end.wait()
        except BaseException as error:  # noqa: BLE001 - it is raised in enter() or leave()
            self._error = error
        if self._phase is Phase.INSIDE:  # nobody asked for it: a task group in it failed, say
            self._error = self._error or RuntimeError("the app's lifespan ended by itself")
            self._fell()
        self._give_up()

    def _give_up(self) -> None:
        """It is over, or does not heed that it was cancelled."""
        self._phase = Phase.OVER
        self._ready.set()
        self._over.set()


@contextmanager
def watched(host: Host) -> Iterator[None]:
    """Within, a lifespan is entered. If that takes long it is said, even if it blocks the loop."""
    done = threading.Event()

    def watch() -> None:
        if done.wait(SLOW):
            return
        answered = threading.Event()
        with suppress(RuntimeError):  # the loop has ended
            host.soon(answered.set)
        blocked = not answered.wait(PATIENCE)
        if not done.is_set():
            how = "blocks the event loop" if blocked else "is still being entered"
            logger.warning("the app's lifespan %s after %g s: nothing is fetched yet", how, SLOW)

    logger.info("entering the app's lifespan")
    threading.Thread(target=watch, name="xqueue-lifespan", daemon=True).start()
    try:
        yield
    finally:
        done.set()
