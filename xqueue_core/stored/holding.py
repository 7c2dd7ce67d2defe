"""Heartbeats: renewing what a worker holds, and giving up on workers that are gone (P1.2, P1.4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from xqueue_core.calls import Beat, BeatReply, Held, Hold, Settle
from xqueue_core.commands import Lose
from xqueue_core.errors import Unavailable, WorkerIdTaken
from xqueue_core.stored import gone, layout
from xqueue_core.stored.layout import Mark, Orders, Unreadable, WorkerRow
from xqueue_core.stored.leasing import HELD
from xqueue_core.stored.records import ABSENT, ANY, Change, Group, Now, Row, Scan
from xqueue_core.stored.tasks import ROUNDS, Job, Tasks, stated
from xqueue_core.task import HandBack, Record

logger = logging.getLogger("xqueue.stored")

#: Most workers that are looked at in one go.
WORKERS = 10_000
#: Tasks that are read at a time to be handed back: their bodies may be large.
BODIES = 64
#: Longest time until the dead are looked for again (seconds).
LOOK_EVERY = 1.0


class _Seen(NamedTuple):
    """One look at a worker, the others' marks and what it holds."""

    now: Now
    worker: Row | None
    marked: Row | None
    workers: Sequence[WorkerRow]
    orders: Orders
    ordered: Change | None  # as they are to be written if it is back
    late: bool  # it left, and this heartbeat was sent before
    holds: Sequence[Row]  # perhaps without bodies

    @property
    def version(self) -> int:
        """Version of the worker's row."""
        return self.worker.version if self.worker else ABSENT


class Keeper:
    """The ``extend`` of a stored queue, and the reclaiming of what dead workers held."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._records = tasks.records

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        """See :meth:`xqueue_core.abc.TaskQueue.extend`."""
        recorded: list[str] = []
        with stated(recorded):
            return await self._extend(beat, held, recorded)

    async def _extend(self, beat: Beat, held: Sequence[Held], recorded: list[str]) -> BeatReply:
        for _ in range(ROUNDS):
            seen = await self._look(beat)
            known = layout.unpack(seen.worker, WorkerRow)
            if known is not None and known.dead:
                # Another process is giving its tasks away: help, then begin anew.
                await self._give_up(beat.worker)
                continue
            if known is not None and gone.another(gone.who(known.beat), gone.who(beat)):
                raise WorkerIdTaken(
                    f"worker {beat.worker} is pid {known.beat.pid} on {known.beat.host!r}, and "
                    "alive: let every worker make an id of its own"
                )
            late = known is None and seen.late
            if beat.leaving or late:
                await self._sort_out(seen.holds, frozenset(), None)
                recorded.append("hand-back")
                left = gone.left(beat, seen.now.wall)
                if late or await self._forget(beat.worker, seen.version, left):
                    return BeatReply([Hold.LOST] * len(held), now=seen.now.wall)
            elif await self._renew(beat, held, seen, recorded):
                break
        else:
            raise Unavailable(f"worker {beat.worker}: its heartbeat row kept changing; try again")
        # A task may have been leased since the look only under a later call number.
        tokens = frozenset((one.id, one.token) for one in held)
        current = await self._sort_out(seen.holds, tokens, beat.answered)
        lanes = await self._tasks.lanes(beat.lanes)
        return BeatReply(
            [_verdict(one, current.get(one.id)) for one in held],
            [name for name, row in lanes.items() if row.paused],
            seen.orders.quiet,
            seen.orders.stop,
            seen.now.wall,
        )

    async def reclaim(self) -> float:
        """Give up on workers whose lease has run out; seconds until one might again."""
        # Read first: whoever holds something later than this is in the list of workers.
        holders = await self._records.counts(layout.holding(""), "", WORKERS)
        [rows] = await self._records.scan([Scan(layout.WORKERS, WORKERS)])
        [marked] = await self._records.load([layout.MARK])
        now = await self._records.now()
        mark = layout.unpack(marked, Mark)
        found = [(row, layout.unpack(row, WorkerRow)) for row in rows]
        workers = [worker for _, worker in found if worker is not None]
        trusted = _trusted(mark, workers, now)
        wanted = LOOK_EVERY
        for row, worker in found:
            if worker is None:
                await self._restore(row, now)
            elif worker.dead:
                await self._give_up(worker.beat.worker)
            elif (left := _left(worker, now, workers)) > 0:
                wanted = min(wanted, left)
            elif not trusted:
                wanted = min(wanted, _grace_left(mark, now) or wanted)
            elif await self._bury(row.key, row.version, worker):
                await self._give_up(worker.beat.worker, buried=True)
        known = {row.key for row in rows}
        for name, count in holders:
            if count > 0 and f"worker/{name[2:]}" not in known:
                await self._find_orphans(name[2:], now)
        return max(wanted, 0.05)

    # -- one heartbeat ---------------------------------------------------------------------

    async def _look(self, beat: Beat) -> _Seen:
        worker = beat.worker
        known, marked, given, left = await self._records.load(
            [f"worker/{worker}", layout.MARK, f"orders/{worker}", f"left/{worker}"]
        )
        [others] = await self._records.scan([Scan(layout.WORKERS, WORKERS)])
        [holds] = await self._records.outline([Scan(layout.held(worker), HELD)])
        workers = [w for row in others if (w := layout.unpack(row, WorkerRow))]
        return _Seen(
            await self._records.now(),
            known,
            marked,
            workers,
            *gone.ordered(given, beat),
            gone.is_late(left, beat),
            holds,
        )

    async def _renew(
        self, beat: Beat, held: Sequence[Held], seen: _Seen, recorded: list[str]
    ) -> bool:
        """Write the heartbeat and move the mark; False if the row changed meanwhile."""
        now = seen.now
        waiting = [(one.id, one.token) for one in held if one.waits]
        before = layout.unpack(seen.worker, WorkerRow)
        if before is not None and beat.number < before.beat.number:
            # A later one overtook it on its way: what waited then may have started since.
            beat = msgspec.structs.replace(beat, number=before.beat.number)
            waiting = before.waiting
        row = WorkerRow(beat, now.steady, now.epoch, now.wall, waiting=waiting)
        change = Change(f"worker/{beat.worker}", seen.version, layout.pack(row), layout.WORKERS)
        changes = [change, seen.ordered] if seen.ordered else [change]
        mark = _moved(layout.unpack(seen.marked, Mark), now, *_largest([*seen.workers, row]))
        groups = [Group(changes)]
        if mark is not None:
            groups.append(Group([_marking(seen.marked, mark)]))
        [renewed, *marked] = await self._records.swap(groups)
        if renewed or any(marked):
            recorded.append("heartbeat")
        if mark is not None and not all(marked):
            await self._mark_later(mark)
        return renewed

    async def _mark_later(self, mark: Mark) -> None:
        """Somebody else has moved the mark meanwhile: to an earlier time, if they stood still."""
        for _ in range(ROUNDS):
            [row] = await self._records.load([layout.MARK])
            other = layout.unpack(row, Mark)
            if other is not None and other.epoch == mark.epoch:
                if other.steady >= mark.steady:
                    return
                mark = Mark(mark.steady, mark.epoch, max(mark.grace_until, other.grace_until))
            [moved] = await self._records.swap([Group([_marking(row, mark)])])
            if moved:
                return

    async def _sort_out(
        self, holds: Sequence[Row], held: frozenset[tuple[str, int]], answered: int | None
    ) -> dict[str, tuple[int, bool]]:
        """Hand back what the worker does not know that it has; token and cancel of the rest.

        Only what its place does not tell to be known to the worker is read.
        """
        current: dict[str, tuple[int, bool]] = {}
        unsure: list[Row] = []
        for row in holds:
            told = layout.told(row)
            if told is not None and (row.key[2:], told[0]) in held:
                current[row.key[2:]] = told
            else:
                unsure.append(row)
        for n in range(0, len(unsure), BODIES):
            seen = unsure[n : n + BODIES]
            read = await self._records.load([row.key for row in seen])
            # Those that were settled meanwhile, or leased anew, are no longer what was seen.
            rows = [
                row
                for row, before in zip(read, seen, strict=True)
                if row is not None and _same_delivery(row, before)
            ]
            await self._hand_back(rows, held, answered)
            current.update(
                (id, (record.delivery, bool(record.cancel)))
                for id, record in _readable(rows).items()
            )
        return current

    async def _hand_back(
        self, rows: Sequence[Row], held: frozenset[tuple[str, int]], answered: int | None
    ) -> None:
        """Hand back, uncharged, those of these that the worker does not know that it has."""
        jobs: list[Job] = []
        for row in rows:
            id = row.key[2:]
            try:
                record = layout.unpack_task(row)
            except Unreadable:
                jobs.append(Job(id, Lose(0), row))  # noticed there, and put in quarantine
                continue
            if not isinstance(record, Record) or (id, record.delivery) in held:
                continue
            if answered is None or record.call <= answered:
                back = HandBack(reason="unanswered" if answered is not None else "left")
                jobs.append(Job(id, Settle(id, record.delivery, back), row))
        if jobs:
            # An outage is the heartbeat's failure as well; what cannot be written is found again.
            await self._tasks.each(jobs)

    # -- the dead ----------------------------------------------------------------------------

    async def _bury(self, key: str, version: int, worker: WorkerRow) -> bool:
        """Mark a worker dead; False if it was heard of meanwhile.

        What it said that waits stays as it was: whoever gives its tasks away reads it there.
        """
        dead = msgspec.structs.replace(worker, dead=True)
        change = Change(key, version, layout.pack(dead), layout.WORKERS)
        [gone] = await self._records.swap([Group([change])])
        return gone

    async def _restore(self, row: Row, now: Now) -> None:
        """Give the worker of an unreadable row one lease to be heard of."""
        beat = Beat(worker=row.key.partition("/")[2])
        body = layout.pack(WorkerRow(beat, now.steady, now.epoch, now.wall))
        await self._records.swap([Group([Change(row.key, row.version, body, layout.WORKERS)])])

    async def _find_orphans(self, worker: str, now: Now) -> None:
        """Give up on a worker that is gone and holds something all the same.

        A lease may have been under way while its worker left or was given up. Nothing of it has
        started, for no heartbeat was acknowledged since; so it is no loss. It is one if it was
        there when the worker was given up, and could not be written.
        """
        [left] = await self._records.load([f"lost/{worker}"])
        [holds] = await self._records.scan([Scan(layout.held(worker), HELD)])
        found = _readable(holds).items() if left is None else ()
        waiting = [(id, record.delivery) for id, record in found]
        absent = WorkerRow(Beat(worker=worker), now.steady, now.epoch, now.wall, waiting=waiting)
        if await self._bury(f"worker/{worker}", ABSENT, absent):
            await self._give_up(worker)

    async def _give_up(self, name: str, *, buried: bool = False) -> None:
        """Take from a worker marked dead what it held, then forget it. Safe to do twice.

        Whoever marked it, ``buried``, tells people, and no one else does.
        """
        [marked] = await self._records.load([f"worker/{name}"])
        [holds] = await self._records.scan([Scan(layout.held(name), HELD)])
        # If another process gave it up meanwhile and it is back, it holds what it has leased since,
        # or did not hold yet what it holds. What it leases from here on has other tokens.
        again, given = await self._records.load([f"worker/{name}", f"orders/{name}"])
        worker = layout.unpack(marked, WorkerRow)
        if marked is None or worker is None or not worker.dead:
            return
        if again is None or again.version != marked.version:
            return  # whoever marked it again gives that life up, or the next look does
        waiting = frozenset(worker.waiting)
        jobs: list[Job] = []
        for row in holds:
            try:
                record = layout.unpack_task(row)
                token = record.delivery if isinstance(record, Record) else 0
            except Unreadable:
                token = 0
            id = row.key[2:]
            jobs.append(Job(id, Lose(token, (id, token) in waiting), row))
        if buried:
            text = "worker %s has not been heard of for its lease (%g s): %d %s taken back"
            what = "delivery is" if len(jobs) == 1 else "deliveries are"
            logger.warning(text, name, worker.beat.lease, len(jobs), what)
        taken = await self._tasks.each(jobs) if jobs else []
        lost = Change(f"lost/{name}", ANY, layout.pack(worker) if None in taken else None)
        orders = gone.kept(name, given, worker, (await self._records.now()).wall)
        await self._forget(name, marked.version, lost, orders)

    async def _forget(self, worker: str, version: int, *others: Change) -> bool:
        """Remove all trace of a worker, but what ``others`` say, unless it was heard of since."""
        changes = {
            f"lost/{worker}": Change(f"lost/{worker}", ANY, None),
            f"worker/{worker}": Change(f"worker/{worker}", version, None),
            f"turn/{worker}": Change(f"turn/{worker}", ANY, None),
            f"orders/{worker}": Change(f"orders/{worker}", ANY, None),
            **{one.key: one for one in others},
        }
        [forgotten] = await self._records.swap([Group(list(changes.values()))])
        return forgotten


def _readable(holds: Sequence[Row]) -> dict[str, Record]:
    """What a worker holds, by id, as far as it can be read."""
    found: dict[str, Record] = {}
    for row in holds:
        with suppress(Unreadable):
            record = layout.unpack_task(row)
            if isinstance(record, Record):
                found[row.key[2:]] = record
    return found


def _same_delivery(row: Row, before: Row) -> bool:
    """True if the same worker has it as before, and has not leased it anew."""
    now, then = layout.told(row), layout.told(before)
    return row.bucket == before.bucket and (now is None or then is None or now[0] == then[0])


def _verdict(held: Held, current: tuple[int, bool] | None) -> Hold:
    if current is None or current[0] != held.token:
        return Hold.LOST
    return Hold.CANCELED if current[1] else Hold.KEPT


def _left(worker: WorkerRow, now: Now, workers: Sequence[WorkerRow] = ()) -> float:
    """Seconds until the worker's lease runs out; one of another boot has run out.

    An outage of less than two of the longest heartbeats among ``workers`` leaves no trace in the
    mark, so a lease lasts at least through one of these and the beats before and after it.
    """
    if worker.epoch != now.epoch:
        return 0.0
    _, slowest = _largest(workers)
    lease = max(worker.beat.lease, 2 * slowest + 2 * worker.beat.heartbeat)
    return worker.steady + lease - now.steady


def _largest(workers: Sequence[WorkerRow]) -> tuple[float, float]:
    """The largest lease and heartbeat among the workers."""
    return (
        max((w.beat.lease for w in workers), default=0.0),
        max((w.beat.heartbeat for w in workers), default=0.0),
    )


def _moved(mark: Mark | None, now: Now, lease: float, heartbeat: float) -> Mark | None:
    """The mark after a heartbeat; None if it may stay as it is."""
    if mark is None or mark.epoch != now.epoch or now.steady - mark.steady > 2 * heartbeat:
        # Nobody could renew for a while: everybody gets a whole lease from now on.
        return Mark(now.steady, now.epoch, now.steady + lease)
    if now.steady - mark.steady > heartbeat / 2:
        return Mark(now.steady, now.epoch, mark.grace_until)
    return None


def _marking(before: Row | None, mark: Mark) -> Change:
    """Write the mark, unless somebody has since: a process may stand still before it writes."""
    return Change(layout.MARK, before.version if before else ABSENT, layout.pack(mark))


def _grace_left(mark: Mark | None, now: Now) -> float:
    """Seconds until a silent worker may be judged after an outage; 0 if there was none."""
    if mark is None or mark.epoch != now.epoch:
        return 0.0
    return max(0.0, mark.grace_until - now.steady)


def _trusted(mark: Mark | None, workers: Sequence[WorkerRow], now: Now) -> bool:
    """True if a silent worker is silent by itself, not because nobody could renew (P1.4)."""
    if mark is None or mark.epoch != now.epoch:
        return False
    _, heartbeat = _largest([w for w in workers if _left(w, now) > 0])
    return now.steady - mark.steady <= 2 * heartbeat and now.steady >= mark.grace_until
