"""Time-outs of calls that nearly always end in time: all of one owner share one timer.

``asyncio.timeout`` makes a timer for each call and cancels it soon after, and asks three times
which loop runs. Here a timer stays that was begun for an earlier call: when it fires it ends what
is over time, and is set to the moment at which the next one would be.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from types import TracebackType
from typing import Any


class Patience:
    """The time-outs of one owner, on one event loop."""

    __slots__ = ("_loop", "_open", "_timer", "_when")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: dict[Within, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0  # when the timer fires

    def within(self, seconds: float) -> Within:
        """``with patience.within(5.0):`` bounds what is awaited there as ``asyncio.timeout`` does.

        Raises TimeoutError at the end of the ``with`` if that took longer.
        """
        return Within(self, seconds)

    def begin(self, one: Within, seconds: float) -> asyncio.Task[Any]:
        """Watch it from now on; the running task."""
        loop = self._loop
        task = None if loop is None else asyncio.current_task(loop)
        if loop is None or task is None:
            loop, task = self._on()
        one.at = at = loop.time() + seconds
        self._open[one] = None
        if self._timer is None or at < self._when:
            self._set(loop, at)
        return task

    def end(self, one: Within) -> None:
        """Watch it no longer."""
        self._open.pop(one, None)

    def _on(self) -> tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]:
        """The running loop and task; what an earlier loop had ended with it."""
        loop = self._loop = asyncio.get_running_loop()
        self._open, self._timer = {}, None
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time-out needs a task that it could cancel")
        return loop, task

    def _set(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # In an empty context: it outlives the call that it was begun for, and whatever that had.
        self._timer = loop.call_at(at, self._look, loop, context=Context())
        self._when = at

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what is over time, and come again for the next."""
        # A timer may fire before its time, by as much as the clock cannot tell.
        now, self._timer = max(loop.time(), self._when), None
        for one in [one for one in self._open if one.at <= now]:
            del self._open[one]
            one.expire()
        if self._open:
            self._set(loop, min(one.at for one in self._open))


class Within:
    """One time-out, for one ``with``."""

    __slots__ = ("_cancelling", "_expired", "_patience", "_seconds", "_task", "at")

    def __init__(self, patience: Patience, seconds: float) -> None:
        self._patience = patience
        self._seconds = seconds
        self._expired = False
        self.at = 0.0  # when it is over, by the loop's clock

    def __enter__(self) -> None:
        self._task = task = self._patience.begin(self, self._seconds)
        self._cancelling = task.cancelling()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._expired:
            self._patience.end(self)
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error  # nobody else wants it cancelled

    def expire(self) -> None:
        """Its time is up."""
        self._expired = True
        self._task.cancel()
