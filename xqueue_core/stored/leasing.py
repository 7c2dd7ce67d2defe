"""Taking tasks for a worker: call numbers, order, waiting (P1.2, P2.3)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from xqueue_core.calls import Delivery, Leased, Want
from xqueue_core.commands import Expire, Lease, Said
from xqueue_core.errors import LeaseLost, Refused
from xqueue_core.stored import layout
from xqueue_core.stored.fairness import TURN_EVERY, advanced, in_turn, pick
from xqueue_core.stored.layout import LaneRow, Turn, TurnRow, WorkerRow
from xqueue_core.stored.reads import decoded
from xqueue_core.stored.records import ABSENT, Change, Group, Now, Row, Scan
from xqueue_core.stored.tasks import DUE, EVENTS, ROUNDS, Job, Tasks, encoded, stated
from xqueue_core.task import Record, State, Task
from xqueue_core.transitions import step

#: Longest time between two looks while waiting, in case a ring is lost (seconds).
LOOK_EVERY = 1.0
#: Shortest: a wait that ends a moment too early must not become a loop without rest (seconds).
SHORTEST = 0.001
#: While there is work, what has become due is looked for so often (seconds).
DUE_EVERY = 0.05
#: Most rows a worker can hold: no fewer than the most in flight that is promised.
HELD = 1_000_000


class _Taken(NamedTuple):
    """A task that is leased if its swap holds, and its row as it then is."""

    row: Row
    record: Record
    task: Task


class _Caller(NamedTuple):
    """Who asks, and where the turns stand."""

    worker: str
    call: int
    turn: TurnRow
    version: int


class Leaser:
    """The ``lease`` of a stored queue. ``run_due`` promotes what has become due."""

    def __init__(self, tasks: Tasks, run_due: Callable[[], Awaitable[float | None]]) -> None:
        self._tasks = tasks
        self._records = tasks.records
        self._run_due = run_due
        self._looked = -math.inf  # steady seconds of the last look for what has become due

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        """See :meth:`xqueue_core.abc.TaskQueue.lease`."""
        topics = [layout.ready(want.lane) for want in wants] + [DUE]
        now = await self._records.now()
        until = now.steady + wait
        # A clock that stands before the last look has begun anew with its broker.
        if not 0 <= now.steady - self._looked < DUE_EVERY:
            # Where others are always ready nobody else would, until somebody maintains.
            self._looked = now.steady
            await self._run_due()
        async with self._tasks.bell.listen(topics) as sleep:
            while True:
                leased = await self._once(wants, limit, call, worker)
                if leased.deliveries or leased.ready:
                    return leased
                next_due = await self._run_due()
                now = await self._records.now()
                if next_due is not None and next_due <= now.wall and now.steady < until:
                    continue
                if now.steady >= until:
                    return await self._once(wants, limit, call, worker)
                pause = min(until - now.steady, LOOK_EVERY)
                if next_due is not None:
                    pause = min(pause, next_due - now.wall)
                await sleep(max(pause, SHORTEST))

    async def _once(self, wants: Sequence[Want], limit: int, call: int, worker: str) -> Leased:
        caller, lanes = await self._caller(worker, call, [want.lane for want in wants])
        if call == caller.turn.call:
            before = await self._answered(caller)
            if before:
                return Leased(before)
        open_ = [want for want in wants if not lanes[want.lane].paused]
        asked = [want for want in open_ if want.limit > 0]
        now = await self._records.now()
        deliveries: list[Delivery] = []
        with stated(deliveries):
            for _ in range(ROUNDS):
                found = await self._candidates(asked, limit, caller.turn) if asked else None
                if not found:
                    break
                taken, marked = await self._take(found, caller, lanes, now)
                deliveries += taken
                if deliveries:
                    break
                # Nothing was taken, so no turn was: only the marker's version has changed.
                if marked:
                    caller = caller._replace(version=await self._marked(caller))
            return Leased(deliveries, await self._waiting(open_))

    async def _caller(
        self, worker: str, call: int, lanes: Sequence[str]
    ) -> tuple[_Caller, dict[str, LaneRow]]:
        """Who asks. Raises LeaseLost if nobody knows them, Refused if the call is an old one."""
        names = list(dict.fromkeys(lanes))
        keys = [f"worker/{worker}", f"turn/{worker}", *(f"lane/{name}" for name in names)]
        known, turned, *rows = await self._records.load(keys)
        registered = layout.unpack(known, WorkerRow)
        if registered is None or registered.dead:
            raise LeaseLost(
                f"worker {worker} is not registered, or was declared dead: extend first"
            )
        turn = layout.unpack(turned, TurnRow) or TurnRow()
        if call < turn.call:
            raise Refused(f"call {call} of worker {worker} is older than its call {turn.call}")
        found = {
            name: layout.unpack(row, LaneRow) or LaneRow()
            for name, row in zip(names, rows, strict=True)
        }
        return _Caller(worker, call, turn, turned.version if turned else ABSENT), found

    async def _marked(self, caller: _Caller) -> int:
        """The version of the marker that the caller has just written."""
        if caller.version != ABSENT:
            return caller.version + 1
        [row] = await self._records.load([f"turn/{caller.worker}"])
        turn = layout.unpack(row, TurnRow)
        # A later call of the worker may have been there meanwhile, which stays recorded.
        return row.version if row and turn and turn.call == caller.call else ABSENT

    async def _answered(self, caller: _Caller) -> list[Delivery]:
        """What this very call took when it was made before."""
        [rows] = await self._records.scan([Scan(layout.held(caller.worker), HELD)])
        found = [
            (one.task, one.body)
            for row in rows
            if (one := decoded(row)).task
            and isinstance(one.body, Record)
            and one.body.call == caller.call
        ]
        found.sort(key=lambda one: one[1].rank)
        return [_delivery(task, record) for task, record in found]

    async def _candidates(
        self, wants: Sequence[Want], limit: int, turn: TurnRow
    ) -> tuple[list[tuple[str, Row]], dict[str, Turn]] | None:
        """The rows to take, in order, and the turns that this uses up."""
        limits = {want.lane: min(want.limit, limit) for want in wants}
        scans = [Scan(layout.ready(lane), n) for lane, n in limits.items()]
        found = dict(zip(limits, await self._records.scan(scans), strict=True))
        # Shared out before anything is picked: a turn that is not taken must not be used up.
        shares = Counter(lane for lane, _ in in_turn(found, turn.lane, limit))
        picked: dict[str, Sequence[Row]] = {}
        turns: dict[str, Turn] = {}
        for lane, share in shares.items():
            behind = await self._behind(lane, limits[lane], found[lane])
            before = turn.lanes.get(lane) or Turn()
            picked[lane], after = pick([*found[lane], *behind], share, before)
            if after is not before:
                turns[lane] = after
        return (in_turn(picked, turn.lane, limit), turns) if picked else None

    async def _behind(self, lane: str, n: int, rows: Sequence[Row]) -> list[Row]:
        """Rows behind those found, of each level one more than could get a turn."""
        if len(rows) < n:
            return []
        each = n // TURN_EVERY + 2
        bucket, last = layout.ready(lane), rows[-1]
        lowest = layout.level_of(last.order)
        same, lower = await self._records.scan(
            [Scan(bucket, each, (last.order, last.key)), Scan(bucket, 1, layout.below(lowest))]
        )
        levels, parts = [lowest], [same]
        if lower:
            below = range(layout.level_of(lower[0].order), -1, -1)
            levels += below
            parts += await self._records.scan(
                [Scan(bucket, each, layout.below(level + 1)) for level in below]
            )
        return [
            row
            for level, part in zip(levels, parts, strict=True)
            for row in part
            if layout.level_of(row.order) == level
        ]

    async def _take(
        self,
        found: tuple[list[tuple[str, Row]], dict[str, Turn]],
        caller: _Caller,
        lanes: dict[str, LaneRow],
        now: Now,
    ) -> tuple[list[Delivery], bool]:
        """Lease the rows; others may have been quicker, so the answer may be shorter.

        Says too whether the call and the turns were recorded.
        """
        chosen, turns = found
        at = now.wall
        turn = advanced(caller.turn, caller.call, chosen[-1][0], turns)
        marker = Change(f"turn/{caller.worker}", caller.version, layout.pack(turn))
        groups = [Group([marker])]
        taken: list[_Taken | None] = []
        floor = int(at * 1e6)
        broken: list[Job] = []
        for lane, row in chosen:
            _, before, task, _ = decoded(row)
            if not isinstance(before, Record) or task is None:
                broken.append(Job(row.key[2:], Expire(), row))
                continue
            paused = lanes[lane].paused_for(at)
            did = step(task, before, Lease(caller.worker, caller.call, floor), at, paused)
            record = did.record
            if record is None or record is before:
                continue
            bucket, order, alarm = layout.place(task, record, at, paused, row.version + 1)
            body = layout.pack_task(record)
            change = Change(row.key, row.version, body, bucket, order, alarm)
            counts = layout.deltas(task, before, record, did.verdict)
            if did.verdict is Said.EXPIRED and task.unique_key:
                # Ending a task may free its unique key, which is the business of Tasks.apply.
                broken.append(Job(row.key[2:], Expire(), row))
                continue
            groups.append(Group([change], encoded(did), counts))
            leased = record.state is State.PROCESSING
            written = Row(row.key, row.version + 1, body, bucket, order)
            taken.append(_Taken(written, record, task) if leased else None)
        if broken:
            await self._tasks.apply(broken)
        verdicts = await self._records.swap(groups)
        await self._tasks.ring([EVENTS])
        deliveries = []
        for one, ok in zip(taken, verdicts[1:], strict=True):
            if ok and one is not None:
                self._tasks.recent.keep(*one, now)
                deliveries.append(_delivery(one.task, one.record))
        return deliveries, verdicts[0]

    async def _waiting(self, wants: Sequence[Want]) -> list[str]:
        """The lanes asked for with limit 0 that have work."""
        lanes = [want.lane for want in wants if want.limit == 0]
        if not lanes:
            return []
        found = await self._records.scan([Scan(layout.ready(lane), 1) for lane in lanes])
        return [lane for lane, rows in zip(lanes, found, strict=True) if rows]


def _delivery(task: Task, record: Record) -> Delivery:
    return Delivery(
        task=task,
        token=record.delivery,
        attempt=record.attempt,
        losses=record.losses,
        accepted_at=record.accepted_at,
        due_at=record.due_at,
        leased_at=record.leased_at,
    )
