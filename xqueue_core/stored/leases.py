"""How long a worker's permits live: its registration, and the rule for time nobody could use.

A worker's permits live and die together, with its registration. The registration expires when
the worker has not renewed for its lease, but never for time in which nobody could renew (P1.4):
the :class:`RenewalMark` notices such time, and grants one whole lease from first contact.
Everything here is data and arithmetic; :mod:`xqueue_core.stored.semaphore` reads and writes it.
"""

from __future__ import annotations

from math import inf

import msgspec

from xqueue_core.stored.records import Now


def heartbeat(lease: float) -> float:
    """Seconds between the heartbeats of a worker with this lease."""
    return min(1.0, lease / 5)


class Registration(msgspec.Struct, array_like=True, frozen=True):
    """A worker, known by its last renewal. Permits name its ``term``; a dead one never returns."""

    term: int
    lease: float  # seconds
    steady: float
    epoch: str
    dead: bool = False

    def overdue(self, now: Now) -> bool:
        """True if the worker has not renewed for its lease."""
        return self.epoch != now.epoch or now.steady - self.steady > self.lease


class RenewalMark(msgspec.Struct, array_like=True, frozen=True):
    """When any worker last renewed; steady seconds in ``epoch``.

    Only a renewal moves ``renewed``. When that lies more than two heartbeats back, nobody could
    renew, or all are dead: whoever looks first opens a grace of one lease, in which no
    registration expires. ``contact`` is when somebody last looked since; if looks stop for half
    a lease, the store was away again, and the grace starts anew.
    """

    lease: float  # the largest among living workers
    epoch: str
    renewed: float
    contact: float = -inf
    until: float = -inf

    @classmethod
    def first(cls, now: Now, lease: float) -> RenewalMark:
        """The mark at the first registration, when there is nobody who could have renewed."""
        return cls(lease, now.epoch, now.steady)

    def stale(self, now: Now) -> bool:
        """True if no worker has renewed for two heartbeats."""
        return self.epoch != now.epoch or now.steady - self.renewed > 2 * heartbeat(self.lease)

    def looked(self, now: Now) -> RenewalMark:
        """The mark after somebody reached the store without renewing; itself if unchanged."""
        if not self.stale(now):
            return self
        if self.epoch != now.epoch or now.steady - self.contact > self.lease / 2:
            until = now.steady + self.lease
            return RenewalMark(self.lease, now.epoch, -inf, now.steady, until)
        if now.steady - self.contact > heartbeat(self.lease) / 2:
            return msgspec.structs.replace(self, contact=now.steady)
        return self

    def beaten(self, now: Now, lease: float) -> RenewalMark:
        """The mark after a worker with this lease renewed; itself if unchanged."""
        fresh = self.epoch == now.epoch and now.steady - self.renewed < heartbeat(lease) / 4
        if fresh and lease <= self.lease:
            return self
        wide = msgspec.structs.replace(self, lease=max(lease, self.lease))
        return RenewalMark(wide.lease, now.epoch, now.steady, -inf, wide.looked(now).until)

    def judges(self, now: Now) -> bool:
        """True if a registration that is overdue has expired. Ask after :meth:`looked`."""
        return self.epoch == now.epoch and now.steady >= self.until
