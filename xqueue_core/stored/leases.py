"""How long a worker's permits live: its registration, and the rule for time nobody could use.

A worker's permits live and die together, with its registration. The registration expires when
the worker has not renewed for its lease, but never for time in which nobody could renew (P1.4):
the :class:`RenewalMark` notices such time, and grants one whole lease from first contact.
Everything here is data and arithmetic; :mod:`xqueue_core.stored.semaphore` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import msgspec

from xqueue_core.permits import Permit
from xqueue_core.stored.doubts import Doubt
from xqueue_core.stored.records import Now


def heartbeat(lease: float) -> float:
    """Seconds between the heartbeats of a worker with this lease that has not told them."""
    return min(1.0, lease / 5)


class Registration(msgspec.Struct, array_like=True, frozen=True):
    """A worker, known by its last renewal. Permits name its ``term``; a dead one never returns."""

    term: int
    lease: float  # seconds
    steady: float
    epoch: str
    dead: bool = False
    doubts: dict[str, Doubt] = {}  # by request: permits it may know nothing of
    every: float = 0.0  # seconds between its heartbeats, 0 if it has not told

    @property
    def beats(self) -> float:
        """Seconds between its heartbeats."""
        return self.every or heartbeat(self.lease)

    @property
    def over(self) -> list[Permit]:
        """Permits that have expired, although the worker lives, and are to be taken back."""
        return [Permit(id, one.key, one.token) for id, one in self.doubts.items() if one.over]

    def without(self, ids: Iterable[str]) -> Registration:
        """The same, without the doubts about these requests; itself if there are none."""
        gone = self.doubts.keys() & set(ids)
        left = {id: doubt for id, doubt in self.doubts.items() if id not in gone}
        return msgspec.structs.replace(self, doubts=left) if gone else self

    def overdue(self, now: Now, slowest: float = 0.0) -> bool:
        """True if the worker has not renewed for its lease.

        An outage of less than two of the ``slowest`` heartbeats leaves no trace in the mark, so a
        lease lasts at least through one of these and the beats before and after it.
        """
        return self.epoch != now.epoch or now.steady - self.steady > self._lasts(slowest)

    def left(self, now: Now, slowest: float = 0.0) -> float:
        """Seconds until it is :meth:`overdue` if the worker renews no more."""
        if self.epoch != now.epoch:
            return 0.0
        return max(0.0, self.steady + self._lasts(slowest) - now.steady)

    def _lasts(self, slowest: float) -> float:
        return max(self.lease, 2 * slowest + 2 * self.beats)


def renewed(
    own: Registration | None, new: Registration, named: Iterable[Permit], now: Now
) -> Registration:
    """A worker's registration after a renewal, ``new``, that names these permits."""
    if own is None or own.term != new.term or not own.doubts:
        return new
    broken = own.epoch != now.epoch or now.steady - own.steady > 2 * own.beats
    known = {(permit.id, permit.token) for permit in named}
    left = {
        id: after
        for id, doubt in own.doubts.items()
        if (after := doubt.after((id, doubt.token) in known, new.lease, now.steady, broken))
    }
    return msgspec.structs.replace(new, doubts=left)


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
    every: float = 0.0  # the longest time between heartbeats among living workers, if told

    @classmethod
    def first(cls, now: Now, lease: float) -> RenewalMark:
        """The mark at the first registration, when there is nobody who could have renewed."""
        return cls(lease, now.epoch, now.steady)

    @property
    def slowest(self) -> float:
        """The longest time between two heartbeats of a living worker (seconds)."""
        return self.every or heartbeat(self.lease)

    def stale(self, now: Now) -> bool:
        """True if no worker has renewed for two heartbeats."""
        return self.epoch != now.epoch or now.steady - self.renewed > 2 * self.slowest

    def looked(self, now: Now) -> RenewalMark:
        """The mark after somebody reached the store without renewing; itself if unchanged."""
        if not self.stale(now):
            return self
        if self.epoch != now.epoch or now.steady - self.contact > self.lease / 2:
            until = now.steady + self.lease
            return RenewalMark(self.lease, now.epoch, -inf, now.steady, until, self.every)
        if now.steady - self.contact > self.slowest / 2:
            return msgspec.structs.replace(self, contact=now.steady)
        return self

    def beaten(self, now: Now, lease: float, every: float = 0.0) -> RenewalMark:
        """The mark after a worker with this lease renewed, as it does twice in ``every`` seconds;
        itself if unchanged."""
        every = every or heartbeat(lease)
        fresh = self.epoch == now.epoch and now.steady - self.renewed < every / 4
        if fresh and lease <= self.lease and every <= self.slowest:
            return self
        widest, slowest = max(lease, self.lease), max(every, self.slowest)
        wide = msgspec.structs.replace(self, lease=widest, every=slowest)
        until = wide.looked(now).until
        return RenewalMark(widest, now.epoch, now.steady, -inf, until, slowest)

    def judges(self, now: Now) -> bool:
        """True if a registration that is overdue has expired. Ask after :meth:`looked`."""
        return self.epoch == now.epoch and now.steady >= self.until
