"""What the worker takes from outside so that a test may supply it: time, sleep, chance."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


def steady() -> float:
    """Seconds that only grow and, where the system offers it, also count while it sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


def unheeded(id: str, error: BaseException) -> None:
    """Do nothing."""


@dataclass(slots=True, frozen=True)
class Tools:
    """Clock, sleep and randomness. ``clock`` is shared by both sides of the crossing.

    ``raised`` is told, in whatever thread that was, of what an attempt at this task has raised.
    """

    clock: Callable[[], float] = steady
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: random.Random = field(default_factory=random.Random)
    raised: Callable[[str, BaseException], None] = unheeded


class Backoff:
    """Waits that double up to a cap, with full jitter, until something succeeds again."""

    def __init__(self, tools: Tools, first: float = 0.1, cap: float = 1.5) -> None:
        self._tools = tools
        self._first = first
        self.cap = cap
        self._failures = 0

    def reset(self) -> bool:
        """Begin anew; True if the last call had failed."""
        failed, self._failures = self._failures > 0, 0
        return failed

    async def wait(self) -> int:
        """Wait once more; answers how many failures there have been in a row."""
        self._failures += 1
        longest = min(self.cap, self._first * 2.0 ** min(self._failures - 1, 16))
        await self._tools.sleep(self._tools.random.uniform(longest / 10, longest))
        return self._failures


class Term:
    """Until when a lease may be relied upon: it runs from when its renewal was *sent*.

    Attributes:
        spell: counts the times without a break in it. While it is the same the worker was not
            declared dead; what was under way when it changed may belong to somebody else.
    """

    __slots__ = ("_span", "_until", "spell")

    def __init__(self, span: float) -> None:
        self._span = span
        self._until = float("-inf")
        self.spell = 0

    def acknowledged(self, sent_at: float) -> None:
        """A renewal that was sent then has been acknowledged."""
        if sent_at >= self._until and self._span > 0:
            self.spell += 1
        self._until = max(self._until, sent_at + self._span)

    def end(self) -> None:
        """Nothing may start any more, whatever is acknowledged from now on."""
        self._span = self._until = float("-inf")

    def fresh(self, now: float) -> bool:
        """True while something may start under the lease."""
        return now < self._until
