"""Time in a test: the wall clock stands still until it is set, waits cost nothing.

Two clocks, as on a real host. The *wall* clock is the broker's, by which tasks are due: nothing
but :meth:`VirtualClock.set` moves it, so a test that runs slowly reads the same times. The
*steady* clock is that of waits and leases: it runs in real time, because handlers do, and jumps
over the waits of an engine that has nothing else to do.
"""

from __future__ import annotations

import time

from xqueue_core.stored.records import Now

#: What the steady clock shows at the beginning: far from 0, as on a host.
BEGIN = 1000.0


class VirtualClock:
    """The clocks of one rehearsal. Moved by one thread at a time, read by any.

    Args:
        wall: what the wall clock shows (UTC seconds).
    """

    def __init__(self, wall: float) -> None:
        self._wall = wall
        self._ahead = BEGIN - time.monotonic()  # of the real steady clock

    def wall(self) -> float:
        """UTC seconds since the epoch."""
        return self._wall

    def steady(self) -> float:
        """Seconds that only grow."""
        return time.monotonic() + self._ahead

    def now(self) -> Now:
        """Both, as a store is to read them."""
        return Now(self._wall, self.steady(), "rehearsal")

    def set(self, wall: float) -> None:
        """Set the wall clock forward; what is earlier than it shows changes nothing."""
        self._wall = max(self._wall, wall)

    def jump(self, seconds: float) -> None:
        """Let so much time pass on the steady clock at once."""
        self._ahead += max(seconds, 0.0)
