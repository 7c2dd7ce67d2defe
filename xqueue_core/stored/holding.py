"""Heartbeats: renewing what a worker holds, and giving up on workers that are gone (P1.2, P1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xqueue_core.calls import Beat, BeatReply, Held, Hold, Settle
from xqueue_core.commands import Lose
from xqueue_core.errors import Unavailable
from xqueue_core.stored import layout
from xqueue_core.stored.layout import Mark, Orders, Unreadable, WorkerRow
from xqueue_core.stored.leasing import HELD
from xqueue_core.stored.records import ANY, Change, Group, Now, Row, Scan
from xqueue_core.stored.tasks import ROUNDS, Job, Tasks
from xqueue_core.task import HandBack, Record

#: Most workers that are looked at in one go.
WORKERS = 10_000
#: Longest time until the dead are looked for again (seconds).
LOOK_EVERY = 1.0


class _Seen(NamedTuple):
    """One look at a worker, the others' marks and what it holds."""

    now: Now
    worker: Row | None
    mark: Mark | None
    workers: Sequence[WorkerRow]
    orders: Orders
    holds: Sequence[Row]


class Keeper:
    """The ``extend`` of a stored queue, and the reclaiming of what dead workers held."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._records = tasks.records

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        """See :meth:`xqueue_core.abc.TaskQueue.extend`."""
        for _ in range(ROUNDS):
            seen = await self._look(beat.worker)
            known = layout.unpack(seen.worker, WorkerRow)
            if known is not None and known.dead:
                # Another process is giving its tasks away: help, then begin anew.
                await self._give_up(beat.worker)
                continue
            if beat.leaving:
                await self._hand_back(seen.holds, held=frozenset(), answered=None)
                await self._forget(beat.worker)
                return BeatReply([Hold.LOST] * len(held))
            if await self._renew(beat, seen):
                break
        else:
            raise Unavailable(f"worker {beat.worker}: its heartbeat row kept changing; try again")
        # A task may have been leased since the look only under a later call number.
        tokens = frozenset((one.id, one.token) for one in held)
        await self._hand_back(seen.holds, tokens, beat.answered)
        lanes = await self._tasks.lanes(beat.lanes)
        return BeatReply(
            _verdicts(held, seen.holds),
            [name for name, row in lanes.items() if row.paused],
            seen.orders.quiet,
            seen.orders.stop,
        )

    async def reclaim(self) -> float:
        """Give up on workers whose lease has run out; seconds until one might again."""
        [rows] = await self._records.scan([Scan(layout.WORKERS, WORKERS)])
        workers = [(row, layout.unpack(row, WorkerRow)) for row in rows]
        [marked] = await self._records.load([layout.MARK])
        now = await self._records.now()
        mark = layout.unpack(marked, Mark)
        wanted = LOOK_EVERY
        for row, worker in workers:
            if worker is None or worker.dead:
                await self._give_up(row.key.partition("/")[2])
                continue
            left = _left(worker, now)
            if left > 0:
                wanted = min(wanted, left)
            elif _trusted(mark, [w for _, w in workers if w], now):
                dead = WorkerRow(worker.beat, worker.steady, worker.epoch, worker.wall, True)
                change = Change(row.key, row.version, layout.pack(dead), layout.WORKERS)
                [gone] = await self._records.swap([Group([change])])
                if gone:
                    await self._give_up(worker.beat.worker)
        return max(wanted, 0.05)

    # -- one heartbeat ---------------------------------------------------------------------

    async def _look(self, worker: str) -> _Seen:
        known, marked, ordered = await self._records.load(
            [f"worker/{worker}", layout.MARK, f"orders/{worker}"]
        )
        others, holds = await self._records.scan(
            [Scan(layout.WORKERS, WORKERS), Scan(layout.held(worker), HELD)]
        )
        workers = [w for row in others if (w := layout.unpack(row, WorkerRow))]
        return _Seen(
            await self._records.now(),
            known,
            layout.unpack(marked, Mark),
            workers,
            layout.unpack(ordered, Orders) or Orders(),
            holds,
        )

    async def _renew(self, beat: Beat, seen: _Seen) -> bool:
        """Write the heartbeat and move the mark; False if the row changed meanwhile."""
        now, mark = seen.now, seen.mark
        row = WorkerRow(beat, now.steady, now.epoch, now.wall)
        version = seen.worker.version if seen.worker else 0
        change = Change(f"worker/{beat.worker}", version, layout.pack(row), layout.WORKERS)
        changes = [change]
        lease, heartbeat = _largest([*seen.workers, row])
        if mark is None or mark.epoch != now.epoch or now.steady - mark.steady > 2 * heartbeat:
            # Nobody could renew for a while: everybody gets a whole lease from now on.
            grace = Mark(now.steady, now.epoch, now.steady + lease)
            changes.append(Change(layout.MARK, ANY, layout.pack(grace)))
        elif now.steady - mark.steady > heartbeat / 2:
            moved = Mark(now.steady, now.epoch, mark.grace_until)
            changes.append(Change(layout.MARK, ANY, layout.pack(moved)))
        [renewed] = await self._records.swap([Group(changes)])
        return renewed

    async def _hand_back(
        self, holds: Sequence[Row], held: frozenset[tuple[str, int]], answered: int | None
    ) -> None:
        """Hand back, uncharged, what the worker does not know that it has."""
        jobs: list[Job] = []
        for row in holds:
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
            await self._tasks.apply(jobs)

    # -- the dead ----------------------------------------------------------------------------

    async def _give_up(self, worker: str) -> None:
        """Take from a worker marked dead what it held, then forget it. Safe to do twice."""
        [holds] = await self._records.scan([Scan(layout.held(worker), HELD)])
        jobs: list[Job] = []
        for row in holds:
            try:
                record = layout.unpack_task(row)
                token = record.delivery if isinstance(record, Record) else 0
            except Unreadable:
                token = 0
            jobs.append(Job(row.key[2:], Lose(token), row))
        if jobs:
            await self._tasks.apply(jobs)
        await self._forget(worker)

    async def _forget(self, worker: str) -> None:
        keys = (f"worker/{worker}", f"turn/{worker}", f"orders/{worker}")
        await self._records.swap([Group([Change(key, ANY, None)]) for key in keys])


def _verdicts(held: Sequence[Held], holds: Sequence[Row]) -> list[Hold]:
    current: dict[str, Record] = {}
    for row in holds:
        try:
            record = layout.unpack_task(row)
        except Unreadable:
            continue
        if isinstance(record, Record):
            current[row.key[2:]] = record
    return [_verdict(one, current.get(one.id)) for one in held]


def _verdict(held: Held, record: Record | None) -> Hold:
    if record is None or record.delivery != held.token:
        return Hold.LOST
    return Hold.CANCELED if record.cancel else Hold.KEPT


def _left(worker: WorkerRow, now: Now) -> float:
    """Seconds until the worker's lease runs out; one of another boot has run out."""
    if worker.epoch != now.epoch:
        return 0.0
    return worker.steady + worker.beat.lease - now.steady


def _largest(workers: Sequence[WorkerRow]) -> tuple[float, float]:
    """The largest lease and heartbeat among the workers."""
    return (
        max((w.beat.lease for w in workers), default=0.0),
        max((w.beat.heartbeat for w in workers), default=0.0),
    )


def _trusted(mark: Mark | None, workers: Sequence[WorkerRow], now: Now) -> bool:
    """True if a silent worker is silent by itself, not because nobody could renew (P1.4)."""
    if mark is None or mark.epoch != now.epoch:
        return False
    _, heartbeat = _largest([w for w in workers if _left(w, now) > 0])
    return now.steady - mark.steady <= 2 * heartbeat and now.steady >= mark.grace_until
