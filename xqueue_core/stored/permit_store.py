"""Reads and changes the semaphore's rows: load, decide, swap, until it holds.

What is decided is in :mod:`~xqueue_core.stored.gate` (one key) and
:mod:`~xqueue_core.stored.leases` (who is alive). A permit is dead when its worker's registration
is, which is one change of one row guarded by its version: a renewal, and the verdict that it came
too late, exclude each other.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count

from xqueue_core.errors import BrokerError, Unknown
from xqueue_core.permits import Answer, Grant, KeyInfo, Permit, Request
from xqueue_core.stored import permit_rows
from xqueue_core.stored.forgotten import Forgotten
from xqueue_core.stored.gate import Gate
from xqueue_core.stored.layout import unpack
from xqueue_core.stored.leases import Registration, RenewalMark, renewed
from xqueue_core.stored.permit_rows import MARK, gate_key, lease_key, term_of
from xqueue_core.stored.permit_sight import Asked, Gates, LastRows, Sight, gates_of, rebuilt
from xqueue_core.stored.records import Bell, Change, Group, Now, Records, Row
from xqueue_core.stored.tasks import stated

logger = logging.getLogger("xqueue.stored")

#: Rounds of load and swap before a call gives up on rows that others keep changing.
ROUNDS = 100

#: Changes a gate in place and names the workers to wake.
Edit = Callable[[str, Gate, Now], set[str]]
#: Waits so many seconds.
Sleep = Callable[[float], Awaitable[None]]


class PermitStore:
    """The semaphore's rows in a store.

    Args:
        records: the store.
        bell: wakes who waits for a permit.
        rng: spreads the attempts of processes that change one key at the same time.
        sleep: waits between such attempts.
    """

    def __init__(self, records: Records, bell: Bell, rng: random.Random, sleep: Sleep) -> None:
        self._records = records
        self._bell = bell
        self._rng = rng
        self._sleep = sleep
        self._forgotten = Forgotten(self, rng)
        self._last = LastRows()

    async def now(self) -> Now:
        """The store's clocks."""
        return await self._records.now()

    async def load(self, keys: Sequence[str]) -> Sequence[Row | None]:
        """Rows by their keys."""
        return await self._records.load(keys) if keys else ()

    async def swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        """Make each change on its own."""
        return await self._records.swap([Group([change]) for change in changes]) if changes else ()

    async def sweep(self) -> None:
        """Remove what is of no use."""
        await permit_rows.sweep(self._records)

    async def pause(self, n: int) -> None:
        """Before round ``n``: let others finish, a little longer with each round lost to them.

        Raises Unknown when there were too many.
        """
        if n >= ROUNDS:
            raise Unknown(f"permits kept changing under {n} attempts; some may have been granted")
        if n > 1:
            await self._sleep(self._rng.random() * min(0.05, 0.0005 * 2 ** min(n, 10)))

    async def edit(self, keys: Iterable[str], edit: Edit, *, mend: bool = False) -> None:
        """Change the gates of these keys, each once; a damaged one is left, or with ``mend``
        rebuilt."""
        todo = list(keys)
        for n in count():
            if not todo:
                return
            await self.pause(n)
            names = [gate_key(key) for key in todo]
            guessed = self._last.take(names) if n == 0 else {}
            now = await self.now()
            loaded = await self.load([name for name in names if name not in guessed])
            read = iter(loaded)
            rows = [guessed.get(name) or next(read) for name in names]
            gates = gates_of(todo, rows, now, rebuilt if mend else None)
            todo = await self._store(gates, edit, guessed)

    async def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer each request once, without blocking."""
        by_key: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            by_key.setdefault(request.key, []).append(i)
        leases = {request.worker: request.lease for request in requests}
        asked = Asked(requests, by_key, leases, [Answer(Grant.DENIED)] * len(requests))
        todo, done = list(by_key), list[str]()
        terms: Mapping[str, int] = {}
        with stated(done):
            for n in count():
                if not todo:
                    break
                await self.pause(n)
                sight = await self._look(todo, asked)
                if sight is not None and terms and sight.terms != terms:
                    # A registration has ended between two rounds, and what was granted under it.
                    todo, terms = list(by_key), {}
                elif sight is not None:
                    terms = sight.terms
                    left = await self._answer(asked, sight)
                    done += set(todo) - set(left)
                    todo = left
        return asked.answers

    async def show(self, keys: Sequence[str]) -> list[KeyInfo]:
        """Keys as operators see them: without those whose time is over.

        Changes nothing, but that workers may be asked about old permits.
        """
        now = await self.now()
        rows = await self.load([MARK, *map(gate_key, keys)])
        gates = gates_of(keys, rows[1:], now, lambda key, now: Gate()).of
        found = unpack(rows[0], RenewalMark)
        mark = found.looked(now) if found is not None else RenewalMark.first(now, 0.0)
        judges = found is not None and mark.judges(now)
        living = {
            worker: (row, own)
            for worker, (row, own) in (await self._registered(gates.values())).items()
            if not (judges and own.overdue(now, mark.slowest))
        }
        terms = {worker: own.term for worker, (_, own) in living.items()}
        for gate in gates.values():
            gate.expire(lambda worker, term: terms.get(worker) != term, judges, now)
        with suppress(BrokerError):  # what was asked for is known
            await self._forgotten.ask(gates, living, now)
        left = {
            worker: max(own.left(now, mark.slowest), mark.until - now.steady)
            for worker, (_, own) in living.items()
        }
        return [gates[key].info(key, left) for key in keys]

    async def beat(
        self,
        worker: str,
        times: tuple[float, float],
        permits: Sequence[Permit],
        keys: Sequence[str],
    ) -> tuple[Sequence[Row | None], int, Now]:
        """Renew a worker's registration; the rows of these keys, its term, and the time.

        ``times`` are its lease and heartbeat, ``permits`` those it knows of.
        """
        n, (lease, every) = 0, times
        while True:
            await self.pause(n)
            now = await self.now()
            rows = await self.load([MARK, lease_key(worker), *map(gate_key, keys)])
            mark = unpack(rows[0], RenewalMark)
            beaten = (mark or RenewalMark.first(now, lease)).beaten(now, lease, every)
            own = unpack(rows[1], Registration)
            term = term_of(own, beaten, now)
            new = Registration(term, lease, now.steady, now.epoch, every=every)
            new = renewed(own, new, permits, now)
            changes = [permit_rows.registration_change(worker, rows[1], new)]
            if beaten != mark:
                changes.append(permit_rows.mark_change(rows[0], beaten))
            # Whoever drops our permits as expired changes our registration first, so what was
            # read along with it holds if it still had that version.
            if all(await self.swap(changes)):
                if not new.over:
                    return rows[2:], term, now
                await self._forgotten.take_back(worker, new.over)
            n += 1

    # -- one round -----------------------------------------------------------------------------

    async def _store(
        self, gates: Gates, edit: Edit, guessed: Container[str] = (), *, keep: bool = False
    ) -> list[str]:
        """Edit each gate and store it; returns the keys to look at again.

        Those changed meanwhile, or their rows were only ``guessed`` and no swap told that they
        were right. With ``keep`` the rows are remembered.
        """
        changed: list[tuple[str, set[str]]] = []
        changes: list[Change] = []
        failed: list[str] = []
        for key, gate in gates.of.items():
            woken = edit(key, gate, gates.now)
            change = permit_rows.gate_change(key, gates.rows[key], gate, gates.now)
            if change is not None:
                changed.append((key, woken))
                changes.append(change)
            elif gate_key(key) in guessed:
                failed.append(key)
        topics: set[str] = set()
        swapped = await self.swap(changes)
        for (key, woken), change, stored in zip(changed, changes, swapped, strict=True):
            if stored:
                if keep:
                    self._last.keep(change)
                topics.update(permit_rows.topic(key, worker) for worker in woken)
            else:
                failed.append(key)
        if topics:
            await self._bell.ring(topics)
        return failed

    async def _look(self, keys: Sequence[str], asked: Asked) -> Sight | None:
        """Read what answers depend on; None if a registration had to be changed first."""
        # Clocks are read first: an age that is found too small expires nothing too early.
        now = await self.now()
        leases, workers = asked.leases, list(asked.leases)
        rows = await self.load([MARK, *map(lease_key, workers), *map(gate_key, keys)])
        mark = unpack(rows[0], RenewalMark)
        changes: list[Change] = []
        if mark is None:
            mark = RenewalMark.first(now, max(leases.values()))
            changes.append(permit_rows.mark_change(rows[0], mark))
        terms: dict[str, int] = {}
        for worker, row in zip(workers, rows[1:], strict=False):
            own = unpack(row, Registration)
            terms[worker] = term_of(own, mark.looked(now), now)
            if own is None or own.dead or own.overdue(now, mark.slowest):
                # A new permit must live until its worker's first renewal.
                new = Registration(terms[worker], leases[worker], now.steady, now.epoch)
                changes.append(permit_rows.registration_change(worker, row, new))
            elif own.doubts and own != (known := own.without(one.id for one in asked.requests)):
                # Who asks for it will know of it; what is over must not be granted by that.
                await self._forgotten.drop(one for one in own.over if one.id not in known.doubts)
                changes.append(permit_rows.registration_change(worker, row, known))
        if changes:
            await self.swap(changes)
            return None
        gates = gates_of(keys, rows[len(workers) + 1 :], now, rebuilt)
        return Sight(gates, terms, rows[0], mark)

    async def _answer(self, asked: Asked, sight: Sight) -> list[str]:
        """Fill in the answers; returns the keys that changed meanwhile."""
        gates = sight.gates.of
        tight = {key: gate for key, gate in gates.items() if gate.tight(len(asked.by_key[key]))}
        if tight:
            await self._expire(tight, sight)

        def ask(key: str, gate: Gate, now: Now) -> set[str]:
            chosen = asked.by_key[key]
            found, woken = gate.acquire([asked.requests[i] for i in chosen], sight.terms, now)
            for i, answer in zip(chosen, found, strict=True):
                asked.answers[i] = answer
            return woken

        return await self._store(sight.gates, ask, keep=True)

    async def _expire(self, gates: Mapping[str, Gate], sight: Sight) -> None:
        """Declare the overdue dead, if that may be judged now, and drop what the dead held.

        Who lives is asked about old permits.
        """
        now, mark = sight.gates.now, sight.mark.looked(sight.gates.now)
        judges = mark.judges(now)
        if mark != sight.mark:
            [saved] = await self.swap([permit_rows.mark_change(sight.mark_row, mark)])
            judges = judges and saved
        terms: dict[str, int] = {}  # of those who live
        late: list[str] = []
        deaths: list[Change] = []
        registered = await self._registered(gates.values())
        for worker, (row, own) in registered.items():
            terms[worker] = own.term
            if judges and own.overdue(now, mark.slowest):
                late.append(worker)
                deaths.append(permit_rows.death_change(row, own, now))
        for worker, died in zip(late, await self.swap(deaths), strict=True):
            if died:
                del terms[worker]
        for gate in gates.values():
            gate.expire(lambda worker, term: terms.get(worker) != term, judges, now)
            if judges:
                gate.mend(mark.lease, now)
        for worker in late:
            del registered[worker]
        await self._forgotten.ask(gates, registered, now)

    async def _registered(self, gates: Iterable[Gate]) -> dict[str, tuple[Row, Registration]]:
        """The registrations of all who hold or wait, but for those declared dead."""
        workers = sorted({worker for gate in gates for worker in gate.workers()})
        rows = await self.load([lease_key(worker) for worker in workers])
        return {
            worker: (row, own)
            for worker, row in zip(workers, rows, strict=True)
            if row is not None and (own := unpack(row, Registration)) and not own.dead
        }
