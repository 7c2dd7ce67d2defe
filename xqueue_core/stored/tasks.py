"""Applies commands to stored tasks: load, step through the state machine, swap, until it holds.

Everything that changes a task after its acceptance goes through :meth:`Tasks.apply`, so the
rules about versions, counts, unique keys, tombstones and quarantine are here and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from xqueue_core.calls import Purge, Replay, Settle
from xqueue_core.commands import Command, Expire, Expunge, Lose, Promote, Said, Step
from xqueue_core.envelope import decode_task
from xqueue_core.errors import Refused, Unavailable, Unknown
from xqueue_core.stored import layout
from xqueue_core.stored.layout import (
    LaneRow,
    Quarantined,
    Tombstone,
    TypeRow,
    Unique,
)
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.quarantine import forget, key_of, set_aside, stray_type
from xqueue_core.stored.reads import Kept, Read, Recent, decoded
from xqueue_core.stored.records import Bell, Change, Group, Now, Records, Row, Scan
from xqueue_core.stored.still import noted, put_off
from xqueue_core.task import Record, State, Task
from xqueue_core.transitions import remembered, repeated, step

#: Rounds of load and swap before giving up on rows that others keep changing.
ROUNDS = 100
#: Bell topic of every transition and of progress.
EVENTS = "events"
#: Bell topic of a new earliest due time.
DUE = "due"
_ANY_CHANGE = (EVENTS,)

logger = logging.getLogger("xqueue.stored")

_encode_event = msgspec.msgpack.Encoder().encode


class Job(NamedTuple):
    """A command for one task.

    Attributes:
        row: saves loading it where the caller has just read it.
        recent: saves loading it if that is still how it is; else it is loaded.
    """

    id: str
    command: Command
    row: Row | None = None
    recent: Kept | None = None


class Applied(NamedTuple):
    """What a command did. ``of`` names the task that holds the unique key (DUPLICATE)."""

    said: Said
    record: Record | None = None
    task: Task | None = None
    of: str = ""


#: The task's row was put in quarantine, where the command finds it in the next round.
_SET_ASIDE = Applied(Said.UNKNOWN)


@contextmanager
def stated(changed: Sized) -> Iterator[None]:
    """A failure within, after something was changed, is ``Unknown``.

    Unavailable and Refused both say of the whole call that nothing happened.
    """
    try:
        yield
    except (Unavailable, Refused) as error:
        if changed:
            raise Unknown(f"a part of it was carried out, then: {error}") from error
        raise


class _Around(NamedTuple):
    """What else a batch of jobs needs to know."""

    now: Now
    lanes: Mapping[str, LaneRow]
    types: Mapping[str, str]  # the lanes of types, where only a task's id is known
    uniques: Mapping[str, Row | None]
    live: frozenset[str]  # holders of those unique keys that have not ended
    lines: frozenset[tuple[str, str]]  # (lane, key) with a line of parked tasks


class Tasks:
    """The stored tasks."""

    def __init__(self, records: Records, bell: Bell, options: StoredOptions) -> None:
        self.records = records
        self.bell = bell
        self.options = options
        self.recent = Recent()

    async def apply(self, jobs: Sequence[Job]) -> list[Applied]:
        """Carry out each job once; the answers have its order. Raises BrokerError."""
        answers: list[Applied] = [Applied(Said.UNKNOWN)] * len(jobs)
        topics: set[str] = set()
        with stated(topics):
            return await self._apply(jobs, answers, topics)

    async def each(self, jobs: Sequence[Job]) -> list[Applied | None]:
        """The same for upkeep: what cannot be written holds up nobody else; its answer is None.

        Raises Unavailable and Unknown, which concern all of them.
        """
        try:
            return list(await self.apply(jobs))
        except (Unavailable, Unknown):
            raise
        except Exception:
            if len(jobs) == 1:
                logger.exception("%s cannot be changed: %s", jobs[0].id, jobs[0].command)
                return [None]
        return [answer for job in jobs for answer in await self.each([job])]

    async def _apply(
        self, jobs: Sequence[Job], answers: list[Applied], topics: set[str]
    ) -> list[Applied]:
        todo = list(enumerate(jobs))
        for _ in range(ROUNDS):
            reads = await self._read([job for _, job in todo])
            around = await self._around([job for _, job in todo], reads)
            planned: list[tuple[int, Job, Applied]] = []
            groups: list[Group] = []
            again: list[tuple[int, Job]] = []
            for (i, job), read in zip(todo, reads, strict=True):
                group, answer = self._plan(job, read, around)
                if group is not None:
                    groups.append(group)
                    planned.append((i, job, answer))
                elif job.recent is not None:
                    # Only a swap tells whether that is still how it is.
                    again.append((i, Job(job.id, job.command)))
                else:
                    answers[i] = answer
            todo = again
            swapped = await self.records.swap(groups) if groups else ()
            for (i, job, answer), applied in zip(planned, swapped, strict=True):
                if applied:
                    topics.update(rings(answer.record, answer.task))
                if applied and answer is not _SET_ASIDE:
                    answers[i] = answer
                else:
                    todo.append((i, Job(job.id, job.command)))
            if not todo:
                await self.ring(topics)
                return answers
        await self.ring(topics)
        raise Unavailable(f"{len(todo)} tasks kept changing under {ROUNDS} attempts; try again")

    async def ring(self, topics: Iterable[str]) -> None:
        """Wake those who wait for these topics."""
        wanted = set(topics)
        if wanted:
            await self.bell.ring(wanted)

    async def lanes(self, names: Iterable[str]) -> dict[str, LaneRow]:
        """The named lanes' rows; one that was never written is not paused."""
        wanted = list(dict.fromkeys(names))
        rows = await self.records.load([f"lane/{name}" for name in wanted]) if wanted else ()
        return {
            name: layout.unpack(row, LaneRow) or LaneRow()
            for name, row in zip(wanted, rows, strict=True)
        }

    async def lines(self, tasks: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Which of these (lane, key) have a line of parked tasks."""
        wanted = list(dict.fromkeys(tasks))
        if not wanted:
            return frozenset()
        found = await self.records.scan([Scan(layout.line(*pair), 1) for pair in wanted])
        return frozenset(pair for pair, rows in zip(wanted, found, strict=True) if rows)

    # -- reading ---------------------------------------------------------------------------

    async def _read(self, jobs: Sequence[Job]) -> list[Read]:
        missing = [f"t/{job.id}" for job in jobs if job.row is None and job.recent is None]
        loaded = iter(await self.records.load(missing) if missing else ())
        return [
            job.recent.read if job.recent is not None else decoded(job.row or next(loaded))
            for job in jobs
        ]

    async def _around(self, jobs: Sequence[Job], reads: Sequence[Read]) -> _Around:
        timed = {r.task.lane for r in reads if r.task and r.task.queue_timeout is not None}
        unique = [_unique_key(r.task) for r in reads if r.task and r.task.unique_key]
        unique += [
            key
            for job, read in zip(jobs, reads, strict=True)
            if isinstance(read.body, Quarantined) and (key := key_of(job.id))
        ]
        keyed = [
            (read.task.lane, read.task.key)
            for job, read in zip(jobs, reads, strict=True)
            if read.task and read.task.key and isinstance(job.command, Promote)
        ]
        lanes = await self.lanes(timed)
        rows = await self.records.load(unique) if unique else ()
        live = await self._live(rows) if any(isinstance(j.command, Replay) for j in jobs) else ()
        lines = await self.lines(keyed)
        types = await self._types(jobs, reads)
        now = await self.records.now()
        uniques = dict(zip(unique, rows, strict=True))
        return _Around(now, lanes, types, uniques, frozenset(live), lines)

    async def _types(self, jobs: Sequence[Job], reads: Sequence[Read]) -> dict[str, str]:
        """The lanes of the types of unreadable rows that do not lie in a lane."""
        strays = [
            type_
            for job, read in zip(jobs, reads, strict=True)
            if read.why and read.row and (type_ := stray_type(job.id, read.row))
        ]
        rows = await self.records.load([f"type/{type_}" for type_ in strays]) if strays else ()
        known = zip(strays, (layout.unpack(row, TypeRow) for row in rows), strict=True)
        return {type_: row.lane for type_, row in known if row is not None}

    async def _live(self, uniques: Sequence[Row | None]) -> list[str]:
        """The holders of these unique keys that have not ended."""
        held = [unique.of for row in uniques if (unique := layout.unpack(row, Unique))]
        rows = await self.records.load([f"t/{id}" for id in held]) if held else ()
        bodies = [decoded(row).body for row in rows]
        return [
            id
            for id, body in zip(held, bodies, strict=True)
            if isinstance(body, Record) and not body.state.final
        ]

    # -- one job -----------------------------------------------------------------------------

    def _plan(self, job: Job, read: Read, around: _Around) -> tuple[Group | None, Applied]:
        command, row = job.command, read.row
        lost = Said.LOST if isinstance(command, Settle | Lose) else Said.UNKNOWN
        if job.recent is not None and not job.recent.fresh(around.now, self.options.client_retry):
            return None, Applied(lost)
        if row is None:
            return None, Applied(lost)
        if read.why:
            aside = set_aside(job.id, row, read.why, around.now.wall, around.types)
            # Who purges it need not be told of that first.
            return aside, _SET_ASIDE if isinstance(command, Purge) else Applied(lost)
        if isinstance(read.body, Tombstone):
            return _buried(row, read.body, command, around.now.wall, lost)
        if isinstance(read.body, Quarantined):
            if isinstance(command, Purge):
                unique = around.uniques.get(key_of(job.id))
                stone = None
                if command.request:
                    until = around.now.wall + 2 * self.options.client_retry
                    stone = Tombstone(until, wish=command.request)
                return forget(job.id, row, read.body, unique, stone), Applied(Said.APPLIED)
            return None, Applied(lost)
        if read.body is None or read.task is None:  # decoding gives both, or a reason why not
            return None, Applied(lost)
        return self._step(job, row, read.body, read.task, around)

    def _step(
        self, job: Job, row: Row, before: Record, task: Task, around: _Around
    ) -> tuple[Group | None, Applied]:
        command, at = job.command, around.now.wall
        lane = around.lanes.get(task.lane, LaneRow())
        paused = lane.paused_for(at)
        if isinstance(command, Promote):
            in_line = (task.lane, task.key) in around.lines
            command = Promote(in_line, lane.paused_for(at) - lane.paused_for(before.due_at))
        did = step(task, before, command, at, paused)
        after = did.record
        if after is before:
            if isinstance(command, Expunge | Promote | Expire) and did.verdict is Said.EARLY:
                return _rearm(row, task, before, at, lane), Applied(did.verdict, before, task)
            return None, Applied(did.verdict, before, task)
        if isinstance(command, Replay) and after is not None and command.edit is not None:
            task = decode_task(after.raw)
        if after is None:
            changes = [self._bury(row, task, before, command, at)]
        else:
            bucket, order, alarm = layout.place(task, after, at, paused, row.version + 1)
            body = layout.pack_task(after)
            changes = [Change(row.key, row.version, body, bucket, order, alarm)]
        if task.unique_key:
            extra, holder = _unique_change(task, before, after, around)
            if holder:
                return None, Applied(Said.DUPLICATE, before, task, holder)
            changes += extra
        group = Group(changes, encoded(did), layout.deltas(task, before, after, did.verdict))
        return group, Applied(did.verdict, after, task)

    def _bury(self, row: Row, task: Task, before: Record, command: Command, at: float) -> Change:
        retry = 2 * self.options.client_retry
        keep = self.options.dedupe_horizon if task.remember else retry
        until = before.finished_at + max(keep, retry)
        if isinstance(command, Purge) and command.request:
            until = max(until, at + retry)  # who wished it may ask again
        stone = Tombstone(until, before.settled, *remembered(before, command))
        return Change(row.key, row.version, layout.pack_task(stone), alarm=until)


def encoded(did: Step) -> list[bytes]:
    """A step's events as the log keeps them."""
    return [_encode_event(event) for event in did.events]


def rings(record: Record | None, task: Task | None) -> Sequence[str]:
    """The bell topics to ring after a task reached this record."""
    if record is None or task is None:
        return _ANY_CHANGE
    if record.state is State.PENDING and not record.parked:
        return EVENTS, layout.ready(task.lane)
    if record.state is State.SCHEDULED:
        return EVENTS, DUE
    return _ANY_CHANGE


def _buried(
    row: Row, stone: Tombstone, command: Command, at: float, lost: Said
) -> tuple[Group | None, Applied]:
    """A command for a task of which only the id is left."""
    if isinstance(command, Expunge) and stone.until <= at:
        return Group([Change(row.key, row.version, None)]), Applied(Said.APPLIED)
    if isinstance(command, Settle) and command.token in stone.settled:
        return None, Applied(Said.REPEATED)
    return None, Applied(repeated(command, stone.wish, stone.wish_told) or lost)


def _rearm(row: Row, task: Task, record: Record, at: float, lane: LaneRow) -> Group:
    """Put the alarm of a row that was found too early where it belongs."""
    bucket, order, alarm = layout.place(task, record, at, lane.paused_for(at))
    changes = []
    if lane.paused and alarm is not None and not record.state.final:
        alarm = put_off(record, alarm, at, lane)
        changes = [noted(task.lane)]
    return Group([Change(row.key, row.version, row.body, bucket, order, alarm), *changes])


def _unique_key(task: Task) -> str:
    return f"u/{task.type}/{task.unique_key}"


def _unique_change(
    task: Task, before: Record, after: Record | None, around: _Around
) -> tuple[list[Change], str]:
    """How a step changes the unique key's row, and who else holds the key on a replay."""
    key = _unique_key(task)
    row = around.uniques.get(key)
    held = layout.unpack(row, Unique)
    id = task.id
    if after is not None and after.replays > before.replays:
        if held is not None and held.of != id and held.of in around.live:
            return [], held.of
        if held is not None and held.until is not None and held.until > around.now.wall:
            return [], ""  # kept by a task that has ended, for the time it asked for
        body = layout.pack(Unique(id, None))
        return [Change(key, row.version if row else 0, body)], ""
    ended = after is None or after.state.final
    if ended and row is not None and held is not None and held.of == id and held.until is None:
        return [Change(key, row.version, None)], ""
    return [], ""
