"""When upkeep is due, so that a worker whose heartbeats tell so need not ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: Seconds after a look within which the next heartbeat is expected, as workers send one a second;
#: without one it is asked.
EXPECTED: Final = 1.05
#: Longest time between two upkeeps (seconds): a heartbeat does not see everything.
LONGEST: Final = 2.5
#: Seconds by which a loop may wake too early.
EARLY: Final = 0.01


class Upkeep:
    """What the last upkeep and the heartbeats since then said.

    Args:
        clock: gives the time in seconds; it never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done = self._seen = self._due = self._told = float("-inf")

    def done(self, wanted: float) -> float:
        """It was done just now, and is wanted again in so many seconds: when to ask for it."""
        self._done = self._seen = self._clock()
        self._due = self._done + wanted
        return self._left()

    def heard(self, due: float | None) -> None:
        """A heartbeat saw what is due next, in so many seconds; None: nothing waits."""
        self._seen = self._clock()
        if due is not None:
            self._due = min(self._due, self._seen + due)

    def spared(self) -> float:
        """Seconds for which there is nothing to do; 0 if it is to be done, or looked for, now.

        Also 0 for who asks sooner than told: there must be a reason.
        """
        return self._left() if self._clock() >= self._told - EARLY else 0.0

    def _left(self) -> float:
        now = self._clock()
        self._told = min(self._due, self._seen + EXPECTED, self._done + LONGEST)
        return max(0.0, self._told - now)
