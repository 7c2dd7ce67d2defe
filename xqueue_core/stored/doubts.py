"""Permits that their living worker may know nothing of, and how such a one expires.

A call of ``acquire`` that is carried out late, after its worker gave the permit back, is granted
one more; its worker does not know of it, and lives. So whoever finds a key full asks the worker
of each old permit of it whether it knows of that: it leaves a :class:`Doubt` in the worker's
registration, which each renewal reads and writes anyway. A renewal that names the permit answers.
If none does for a whole lease, the permit is over, and the renewal that finds so takes it back.

Only the worker's own renewals count, and only while they follow each other without a break, so
that neither an outage nor a pause ends a permit (P1.4). A permit that is over is never kept, and
is never granted again by its old request: renewals and wishes of one worker exclude each other
by the version of its registration.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from xqueue_core.stored.gate import Gate
    from xqueue_core.stored.leases import Registration
    from xqueue_core.stored.records import Now

#: A permit that no renewal names is left alone for so many seconds at least: the answer that
#: tells of it may be under way, longer than a short lease.
UNDER_WAY = 10.0
#: Permits granted together have tokens ahead of the clock by a microsecond each: up to so many
#: seconds a token of the future is that of a young permit.
AHEAD = 1.0
#: Doubts about one worker's permits at a time.
MOST = 100


class Doubt(msgspec.Struct, array_like=True, frozen=True):
    """One permit of a worker, by its request's id.

    ``since`` is the first renewal that did not name it, or, if ``named``, the one that did;
    None before any. An answered doubt is kept for a lease, so that none is raised meanwhile.
    """

    key: str
    token: int
    since: float | None = None  # steady seconds
    named: bool = False
    over: bool = False

    def after(self, named: bool, lease: float, now: float, broken: bool) -> Doubt | None:
        """What is left of it after a renewal; ``broken`` if that came long after the last."""
        if self.over:
            return self
        if self.named:
            recent = not broken and self.since is not None and now - self.since <= lease
            return self if recent else None
        if named or broken or self.since is None:
            return msgspec.structs.replace(self, since=now, named=named)
        if now - self.since > max(lease, UNDER_WAY):
            return msgspec.structs.replace(self, over=True)
        return self


def raised(
    gates: Mapping[str, Gate],
    registered: Mapping[str, Registration],
    now: Now,
    rng: random.Random,
) -> dict[str, Registration]:
    """Registrations with new doubts: about the old permits of keys that are full."""
    found: dict[str, dict[str, Doubt]] = {}
    for key, gate in gates.items():
        for id, holder in gate.holders.items() if gate.tight(1) else ():
            own = registered.get(holder.worker)
            if own is None or own.term != holder.term or id in own.doubts:
                continue
            # Tokens are microseconds of the wall clock: enough to spare the young ones. One of the
            # far future was given before that was set back.
            age = now.wall - holder.token / 1e6
            if holder.offered is None and not -AHEAD <= age <= own.lease:
                found.setdefault(holder.worker, {})[id] = Doubt(key, holder.token)
    changed = {}
    for worker, doubts in found.items():
        own = registered[worker]
        room = max(0, MOST - len(own.doubts))
        # By chance, so that among very many each has its turn.
        ids = list(doubts) if len(doubts) <= room else rng.sample(list(doubts), room)
        if ids:
            more = {**own.doubts, **{id: doubts[id] for id in ids}}
            changed[worker] = msgspec.structs.replace(own, doubts=more)
    return changed
