"""How many tasks one process should run at once: a controller that knows nothing but numbers.

The handlers' loop is taken for a network path of unknown capacity, and slots for the packets
in flight on it. So the rules are those that keep the Internet from collapsing:

* *Slow start*: until congestion was met, the slots double (RFC 5681, 3.1).
* Congestion is the loop being late, in two looks in a row. It costs three tenths of the slots
  (RFC 9438, 4.6), and the number at which it was met is remembered.
* *Congestion avoidance*: back up to nine tenths of that number in a few steps, then one slot at
  a time and seldom, as a flow near its last maximum (RFC 9438, 4.3). Additive increase and
  multiplicative decrease let many such workers share one machine fairly (Chiu and Jain,
  "Analysis of the increase and decrease algorithms for congestion avoidance", 1989).
* Slots that are not used are no evidence (RFC 7661): they do not grow while some are free, a
  late loop is not blamed on them while most are free, and what was not used for long is given up.

Between "not late" and "late" nothing changes, nor for a while after a cut: no flapping.
"""

from __future__ import annotations

import math
from typing import NamedTuple

#: Seconds that one look sums up.
INTERVAL = 1.0
#: Seconds by which the loop may be late for more slots to be added ...
LOW = 0.1
#: ... and from which on it is congested: a handler waits so long for each of its steps.
HIGH = 0.25
#: Looks in a row that must say so.
TWICE = 2
#: Looks for which nothing changes after a cut: what runs has to end first.
HOLD = 5
#: What is left after a cut.
CUT = 0.7
#: Part of the number at which congestion was met that is regained quickly.
KNEE = 0.9
#: Looks from one more slot to the next beyond that.
PROBE = 10
#: Beyond so much of that number it is forgotten, for the load has changed.
FORGET = 1.25
#: Looks of at most half the slots in use after which the others are given up.
IDLE = 30


class Load(NamedTuple):
    """What one look has seen."""

    slots: int
    used: int  # most slots in use at one time
    more: bool  # work was left when all room was taken
    lag: float  # by how much the handlers' loop was late (seconds)


class Scaler:
    """Says how many slots there should be, between ``least`` and ``most``.

    Raises:
        ValueError: not 1 <= least <= most.
    """

    def __init__(self, least: int, most: int) -> None:
        if not 1 <= least <= most:
            raise ValueError(f"slots from {least} to {most}")
        self._least = least
        self._most = most
        self.slots = least
        self._met: float = math.inf  # slots at which the loop was congested
        self._late = 0  # looks in a row that saw it late
        self._hold = 0
        self._probe = 0
        self._idle = 0  # looks in a row that saw at most half in use ...
        self._peak = 0  # ... and most of them that were

    @property
    def spent(self) -> bool:
        """True if more slots would not help: there is no room for more, or the loop is full."""
        return self.slots >= self._most or self.slots >= KNEE * self._met

    def next(self, load: Load) -> int:
        """How many slots there should be after one more look."""
        self._late = self._late + 1 if load.lag >= HIGH else 0
        busy = 2 * load.used > self.slots
        if self._hold:
            self._hold -= 1
        elif self._late >= TWICE and busy:
            self._cut()
        elif busy:
            self._idle = self._peak = 0
            if load.used >= self.slots and load.more and load.lag < LOW:
                self._grow()
        else:
            self._shrink(load.used)
        return self.slots

    def _cut(self) -> None:
        self._met = self.slots
        self.slots = max(self._least, int(CUT * self.slots))
        self._late, self._hold, self._probe = 0, HOLD, 0

    def _grow(self) -> None:
        knee = KNEE * self._met
        if self._met == math.inf:
            wanted = 2 * self.slots
        elif self.slots < knee:
            # Half of what is missing, each time.
            wanted = math.ceil((self.slots + knee) / 2)
        else:
            self._probe += 1
            wanted = self.slots + (self._probe % PROBE == 0)
        self.slots = min(self._most, wanted)
        if self.slots > FORGET * self._met:
            self._met = math.inf

    def _shrink(self, used: int) -> None:
        self._idle += 1
        self._peak = max(self._peak, used)
        if self._idle >= IDLE:
            self.slots = max(self._least, min(self.slots, math.ceil(self._peak / 0.75)))
            self._idle = self._peak = 0
            self._met = math.inf  # long ago, under another load
