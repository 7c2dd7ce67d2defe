"""One key of the semaphore: its limit, who holds permits of it, who waits for one.

A :class:`Gate` does no input or output and reads no clock. It is decoded from its row for one
call, changed in place, and encoded again; nobody shares it. The rules are those of P3.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from xqueue_core.permits import Answer, Grant, Keep, KeyInfo, Permit, Request
from xqueue_core.stored.records import Now

#: Seconds after which a grant that its waiter did not take up passes on.
TAKE_UP = 2.0
#: Seconds after which a waiter that no longer asks has left the line.
SILENT = 10.0
#: Seconds in line after which a waiter makes another worker's holder yield; a permit under which
#: nothing has run for so long is the first to go.
PATIENCE = 1.0

#: Tells whether a worker's registration, named by its term, is over.
Dead = Callable[[str, int], bool]


class Holder(msgspec.Struct, array_like=True, omit_defaults=True):
    """One permit. ``offered`` is when it was granted to a waiter that has not asked since."""

    worker: str
    term: int  # of the worker's registration: when that is over, so is the permit
    token: int
    offered: float | None = None  # steady seconds
    running: bool = False  # registered above the limit


class Waiter(msgspec.Struct, array_like=True):
    """A place in line; times are steady seconds."""

    worker: str
    term: int
    since: float
    asked: float


class Gate(msgspec.Struct, array_like=True, omit_defaults=True):
    """The state of one key. Holders are in the order of their tokens, waiters of arrival."""

    declared: int | None = None
    lasting: bool = False  # declared by ``set_limit``, so that it outlives its use
    stamp: float = 0.0  # of the request that declared it
    pinned: int | None = None
    version: int = 0  # grows also while there is no limit
    token: int = 0  # the latest
    epoch: str = ""  # in which the times of offers and waiters can be compared
    holders: dict[str, Holder] = {}
    waiters: dict[str, Waiter] = {}
    mending: float | None = None  # since when (steady): nothing is granted, but what runs counted

    @classmethod
    def rebuilt(cls, now: Now) -> Gate:
        """In place of a state that cannot be read, with the least limit that it can have had.

        Whoever held a permit learns that it is lost, and has counted what runs under it, or its
        lease runs out: nothing is granted until then. What was declared is lost as well, so that
        an operator who removes the limit leaves one, until it is declared again.
        """
        version = int(now.wall * 1e6)
        return cls(1, True, 0.0, 1, version, epoch=now.epoch, mending=now.steady)

    @property
    def limit(self) -> int | None:
        """The limit that counts; None if there is none."""
        return self.declared if self.pinned is None else self.pinned

    @property
    def seen_version(self) -> int:
        """The limit's version as others see it."""
        return 0 if self.limit is None else self.version

    @property
    def idle(self) -> bool:
        """True if nothing is lost when the row goes."""
        lasting = self.pinned is not None or (self.lasting and self.declared is not None)
        return not (self.holders or self.waiters or lasting)

    def tight(self, wanted: int) -> bool:
        """True if so many more requests may not all be granted."""
        if self.mending is not None:
            return True
        limit = self.limit
        return limit is not None and len(self.holders) + len(self.waiters) + wanted > limit

    def workers(self) -> set[str]:
        """Everybody who holds or waits."""
        found = {holder.worker for holder in self.holders.values()}
        return found | {waiter.worker for waiter in self.waiters.values()}

    def info(self, key: str, left: Mapping[str, float]) -> KeyInfo:
        """The key as operators see it; ``left`` is how long each worker's permits last."""
        return KeyInfo(
            key=key,
            limit=self.limit,
            pinned=self.pinned is not None,
            version=self.seen_version,
            holders={id: holder.worker for id, holder in self.holders.items()},
            waiters=list(self.waiters),
            expires_in={
                id: left[by.worker] for id, by in self.holders.items() if by.worker in left
            },
        )

    # -- time --------------------------------------------------------------------------------

    def turn(self, now: Now) -> None:
        """Start the times again in another epoch; pass on the offers not taken up."""
        if self.epoch != now.epoch:
            self.epoch = now.epoch
            self.mending = now.steady if self.mending is not None else None
            for holder in self.holders.values():
                holder.offered = now.steady if holder.offered is not None else None
            for waiter in self.waiters.values():
                waiter.since = waiter.asked = now.steady
        for id, holder in list(self.holders.items()):
            if holder.offered is not None and now.steady - holder.offered > TAKE_UP:
                del self.holders[id]

    def expire(self, dead: Dead, silent: bool, now: Now) -> None:
        """Drop the permits and places of the dead; with ``silent`` who no longer asks, too."""
        for id, holder in list(self.holders.items()):
            if dead(holder.worker, holder.term):
                del self.holders[id]
        for id, waiter in list(self.waiters.items()):
            left = silent and now.steady - waiter.asked > SILENT
            if left or dead(waiter.worker, waiter.term):
                del self.waiters[id]

    def mend(self, lease: float, now: Now) -> None:
        """Grant again if nothing was for a lease; to be called where permits may expire."""
        if self.mending is not None and now.steady - self.mending > lease:
            self.mending = None

    # -- asking and giving back ----------------------------------------------------------------

    def acquire(
        self, requests: Sequence[Request], terms: Mapping[str, int], now: Now
    ) -> tuple[list[Answer], set[str]]:
        """Answer requests for this key, and name the workers who were granted something else.

        ``terms`` has the registration of each request's worker.
        """
        woken: set[str] = set()
        for request in requests:
            woken |= self._heed(request, now)
        ours: set[str] = set()
        for request in requests:
            term = terms[request.worker]
            if not self._known(request, term, now) and self.limit is not None:
                if request.running:
                    self._grant(request.id, Holder(request.worker, term, 0, running=True), now)
                else:
                    waiter = Waiter(request.worker, term, now.steady, now.steady)
                    self.waiters[request.id] = waiter
            ours.add(request.id)
        woken |= self._hand_out(now, ours)
        for request in requests:
            waiting = self.waiters.get(request.id)
            if waiting is not None and not request.queue and waiting.worker == request.worker:
                del self.waiters[request.id]
        places = {id: n for n, id in enumerate(self.waiters, 1)}
        above = self._above()
        return [self._answer(request, places, above) for request in requests], woken

    def _known(self, request: Request, term: int, now: Now) -> bool:
        """True if the request has a permit or a place already, which it then takes up."""
        holder = self.holders.get(request.id)
        if holder is not None:
            if holder.worker != request.worker:
                return True
            if holder.offered is not None:
                holder.offered, holder.term = None, term
            if holder.term == term:
                return True
            # It expired with the worker's earlier registration: this is a new wish.
            del self.holders[request.id]
        waiter = self.waiters.get(request.id)
        if waiter is None:
            return False
        if waiter.worker == request.worker:
            waiter.term = term
            # A row that is not written for every look: a quarter of the time is fresh enough.
            if now.steady - waiter.asked > SILENT / 4:
                waiter.asked = now.steady
        return True

    def _answer(
        self, request: Request, places: Mapping[str, int], above: Collection[str]
    ) -> Answer:
        holder = self.holders.get(request.id)
        if holder is not None and holder.worker == request.worker:
            keep = Keep.YIELD if request.id in above else Keep.KEPT
            return Answer(Grant.GRANTED, holder.token, version=self.seen_version, keep=keep)
        if self.limit is None:
            return Answer(Grant.FREE)
        waiter = self.waiters.get(request.id)
        if waiter is not None and waiter.worker == request.worker:
            return Answer(Grant.WAITING, place=places[request.id])
        return Answer(Grant.DENIED)

    def _grant(self, id: str, holder: Holder, now: Now) -> None:
        # Microseconds as the least token, so that tokens grow also after the row was removed.
        self.token = holder.token = max(self.token + 1, int(now.wall * 1e6))
        self.holders[id] = holder

    def _hand_out(self, now: Now, present: Collection[str] = ()) -> set[str]:
        """Grant what is free to those first in line; the workers who do not know it yet."""
        woken: set[str] = set()
        limit = self.limit
        if limit is None:
            woken = {waiter.worker for waiter in self.waiters.values()}
            self.waiters.clear()
            return woken
        free = max(0, limit - len(self.holders)) if self.mending is None else 0
        for id in list(islice(self.waiters, free)):
            waiter = self.waiters.pop(id)
            offered = None if id in present else now.steady
            if offered is not None:
                woken.add(waiter.worker)
            self._grant(id, Holder(waiter.worker, waiter.term, 0, offered), now)
        return woken

    def holds(self, permit: Permit) -> bool:
        """True if this permit has not been taken back."""
        holder = self.holders.get(permit.id)
        return holder is not None and holder.token == permit.token

    def release(self, permits: Iterable[Permit], now: Now) -> set[str]:
        """Take permits and places back; the workers who were granted something.

        Token 0 stands for whatever the request has by now: who withdraws from the line, or
        gave up before the answer came, knows no token.
        """
        for permit in permits:
            holder = self.holders.get(permit.id)
            if holder is not None and permit.token in (0, holder.token):
                del self.holders[permit.id]
            elif holder is None and permit.token == 0:
                self.waiters.pop(permit.id, None)
        return self._hand_out(now)

    def renew(self, permits: Sequence[Permit], worker: str, term: int, now: Now) -> list[Keep]:
        """The verdict on each of a worker's permits; changes nothing."""
        yielding = self._yielding({one.id for one in permits if one.idle > PATIENCE}, now)
        answers = []
        for permit in permits:
            holder = self.holders.get(permit.id)
            ours = holder is not None and (holder.worker, holder.term) == (worker, term)
            if holder is None or not ours or holder.token != permit.token:
                answers.append(Keep.LOST)
            else:
                answers.append(Keep.YIELD if permit.id in yielding else Keep.KEPT)
        return answers

    def _yielding(self, unused: Collection[str], now: Now) -> set[str]:
        """Holders that are to give way: those above the limit, and one for each long waiter.

        That is one that is ``unused``, by what the worker that renews tells, else the oldest.
        """
        found = self._above()
        if self.limit is None:
            return found
        oldest = [
            id for id, holder in self.holders.items() if holder.offered is None and id not in found
        ]
        oldest.sort(key=lambda id: id not in unused)
        for waiter in self.waiters.values():
            if self.epoch != now.epoch or now.steady - waiter.since <= PATIENCE:
                continue
            others = (id for id in oldest if self.holders[id].worker != waiter.worker)
            chosen = next(others, None)
            if chosen is not None:
                oldest.remove(chosen)
                found.add(chosen)
        return found

    def _above(self) -> set[str]:
        """Holders that stand above the limit: the latest."""
        limit = self.limit
        if limit is None:
            return set()
        return set(islice(reversed(self.holders), max(0, len(self.holders) - limit)))

    # -- limits ------------------------------------------------------------------------------

    def set_limit(self, limit: int | None, pinned: bool, now: Now) -> set[str]:
        """Set or remove the operator's or the declared value; the workers to wake."""
        before = self.limit
        if pinned:
            self.pinned = limit
        else:
            self.declared, self.lasting = limit, limit is not None
            if limit is None:
                self.stamp = 0.0
        return self._changed(before, now)

    def _heed(self, request: Request, now: Now) -> set[str]:
        """Take over the limit a request carries if it is the latest."""
        if request.limit is None or (self.declared is not None and request.stamp <= self.stamp):
            return set()
        before = self.limit
        self.declared, self.stamp = request.limit, request.stamp
        return self._changed(before, now)

    def _changed(self, before: int | None, now: Now) -> set[str]:
        if self.limit == before:
            return set()
        self.version = max(self.version + 1, int(now.wall * 1e6))
        return self._hand_out(now)
