"""The broker's clock, as a worker knows it from the replies to its heartbeats."""

from __future__ import annotations

from xqueue_core.worker.tools import Tools


class BrokerTime:
    """Runs on the worker's steady clock from the broker's last word on.

    It is never ahead of the broker's clock: that was read before its reply came. It is behind by
    no more than the reply was under way. Where the broker cannot tell, or has not yet, it is this
    machine's wall clock.
    """

    def __init__(self, tools: Tools) -> None:
        self._clock = tools.clock
        self._wall = tools.wall
        self._ahead: float | None = None  # of the steady clock

    def heard(self, now: float) -> None:
        """A reply that has just come says what the broker's clock shows; 0 if it does not."""
        if now:
            self._ahead = now - self._clock()

    def now(self) -> float:
        """UTC seconds since the epoch."""
        return self._wall() if self._ahead is None else self._clock() + self._ahead
