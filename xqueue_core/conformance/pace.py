"""How much time a busy machine takes from a case.

A case waits so many seconds at most for what a backend owes it. Where many programs share few
processors neither gets to run for a part of them, which says nothing about the backend.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

#: Seconds between two looks, and what one may come too late without any lack of processors.
TICK, FAIR = 0.05, 0.01
#: No wait is made longer than so many times.
MOST = 4.0
#: Longest time in seconds for which a thread runs while others want to.
TURN = 0.0005


@contextmanager
def brisk() -> Iterator[None]:
    """Have this interpreter's threads take turns more often.

    Many cases run side by side, and a call of a backend that works in threads goes to and fro
    several times: with the interpreter's own 5 ms for each turn, a heartbeat of 100 ms is late
    as soon as three threads are busy.
    """
    before = sys.getswitchinterval()
    if before <= TURN:  # or another thread runs cases too, and puts it back
        yield
        return
    sys.setswitchinterval(TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Pace:
    """Measures how late this event loop is, and lengthens the waits by it.

    Args:
        scope: the case's own, whose deadline is moved as well; ``deadline`` is how far at most
            (seconds).
    """

    def __init__(self, scope: anyio.CancelScope | None = None, deadline: float = 0.0) -> None:
        self._lost = 0.0
        self._looked = math.inf
        self._scope = scope
        self._left = (MOST - 1) * deadline

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            self._looked = time.monotonic()
            await anyio.sleep(TICK)
            self._lose(self._late())

    @property
    def lost(self) -> float:
        """Seconds that were lost so far, those of the look that is overdue among them."""
        return self._lost + self._late()

    def held_up(self, seconds: float) -> None:
        """Something that the case does itself came so many seconds late, if more than 0."""
        self._lose(max(0.0, seconds))

    def _late(self) -> float:
        return max(0.0, time.monotonic() - self._looked - TICK - FAIR)

    def _lose(self, seconds: float) -> None:
        self._lost += seconds
        if self._scope is not None:
            more = min(seconds, self._left)
            self._left -= more
            self._scope.deadline += more

    def wait(self, seconds: float) -> Wait:
        """A wait of so many seconds, which begins now."""
        return Wait(self, seconds)


class Wait:
    """Counts only time in which the process got to run."""

    def __init__(self, pace: Pace, seconds: float) -> None:
        self._pace = pace
        self._seconds = seconds
        self._begun = time.monotonic()
        self._lost = pace.lost

    def left(self) -> float:
        """Seconds that are left; 0 or less when it is over."""
        lost = min(self._pace.lost - self._lost, (MOST - 1) * self._seconds)
        return self._seconds + lost - (time.monotonic() - self._begun)
