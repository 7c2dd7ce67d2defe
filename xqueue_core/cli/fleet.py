"""How many worker processes there should be: a controller that knows nothing but numbers.

One more when all have been saturated for some seconds, one less when the others could have done
the work of all for a minute. Both thresholds lie far apart, in load and in time, and each step
is judged anew: no flapping.
"""

from __future__ import annotations

from collections.abc import Sequence

from xqueue_core.worker.pacing import Busy

#: Seconds that all must be saturated for one to be added.
UP = 5.0
#: Seconds that one must be superfluous to be taken away.
DOWN = 60.0
#: How much of the room of those that remain may be in use, for one to be superfluous.
SPARE = 0.7
#: A look that comes so much later than the one before says nothing of the time between (seconds).
GAP = 5.0


class Fleet:
    """Says when to start or to stop a process, between ``least`` and ``most`` of them.

    Raises:
        ValueError: not 1 <= least <= most.
    """

    def __init__(self, least: int, most: int, up: float = UP, down: float = DOWN) -> None:
        if not 1 <= least <= most:
            raise ValueError(f"processes from {least} to {most}")
        self._least = least
        self._most = most
        self._up = up
        self._down = down
        self._seen = float("-inf")
        self._saturated: float | None = None  # since when all are
        self._spare: float | None = None  # since when one is superfluous

    def next(self, now: float, busy: Sequence[Busy | None], leaving: int) -> int:
        """1 to start a process, -1 to stop one, else 0.

        ``busy`` has an entry for each that is to stay, None where it has not said anything
        lately, as while it starts; ``leaving`` others are on their way out.
        """
        known = [one for one in busy if one is not None]
        if now - self._seen > GAP or len(known) < len(busy) or not known:
            self._saturated = self._spare = None
        self._seen = now
        if len(known) < len(busy) or not known:
            return 0
        saturated = all(one.saturated for one in known)
        others = SPARE * (len(known) - 1)
        spare = not any(one.saturated for one in known) and sum(one.share for one in known) < others
        self._saturated = _since(self._saturated, saturated, now)
        self._spare = _since(self._spare, spare, now)
        if self._saturated is not None and now - self._saturated >= self._up:
            self._saturated = None
            return int(len(known) + leaving < self._most)
        if self._spare is not None and now - self._spare >= self._down:
            self._spare = None
            return -int(len(known) > self._least)
        return 0


def _since(before: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if before is None else before
