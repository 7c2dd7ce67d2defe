"""The engine's event loop in a test: it jumps over its waits while no handler runs."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from xqueue_core.testing.clock import VirtualClock

#: Longest real wait where nothing is to be waited for (seconds).
LOOK = 0.05


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waits in real time while ``busy()``; else it asks, and jumps when it is allowed to.

    Args:
        clock: its steady clock is the loop's time.
        busy: True while something happens elsewhere that this loop may have to answer.
        idle: called on the loop when nothing is left to do but to wait; it sees to it that
            :meth:`pass_time` is called soon, or that there is something to do.
    """

    def __init__(
        self, clock: VirtualClock, busy: Callable[[], bool], idle: Callable[[], None]
    ) -> None:
        self.clock = clock
        self.busy = busy
        self.idle = idle
        self._may_jump = False
        super().__init__(_Jumping(self))
        # Of a timer that is early by less than the clock can tell, none would ever be due.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Seconds of the steady clock."""
        return self.clock.steady()

    def pass_time(self) -> None:
        """Let the next wait end at once, if nothing happens before it."""
        self._may_jump = True

    def allowed(self) -> bool:
        """True once for each :meth:`pass_time`."""
        allowed, self._may_jump = self._may_jump, False
        return allowed


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        loop = self._loop
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if loop.busy():
            return super().select(timeout)
        if not loop.allowed():
            loop.idle()
            return []
        if timeout is None:  # no timer at all: only another thread can have something to say
            return super().select(LOOK)
        loop.clock.jump(timeout)
        return []
