"""Accepting tasks: dedupe by id, unique key and slot, and joining a key's line (P4.1, P4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from xqueue_core.calls import Accepted, Capabilities, Put
from xqueue_core.checks import packed
from xqueue_core.commands import Accept
from xqueue_core.errors import Unavailable
from xqueue_core.recurring.standing import Standing, fired
from xqueue_core.stored import layout
from xqueue_core.stored.layout import Unique
from xqueue_core.stored.records import ABSENT, Change, Group, Row
from xqueue_core.stored.tasks import ROUNDS, Tasks, encoded, rings, stated
from xqueue_core.task import Record, Slot, Task
from xqueue_core.transitions import apply


class _Seen(NamedTuple):
    """What a batch of puts needs to know; empty for tasks with neither keys nor slots.

    ``rows`` has schedules as they will be once the slots before in the batch have been recorded.
    """

    rows: dict[str, Row | None]
    lines: frozenset[tuple[str, str]]
    paused: Mapping[str, float]
    at: float


class Putter:
    """The ``put`` of a stored queue."""

    def __init__(self, tasks: Tasks, capabilities: Capabilities) -> None:
        self._tasks = tasks
        self._records = tasks.records
        self._capabilities = capabilities

    async def put(self, tasks: Sequence[Task]) -> list[Accepted]:
        """See :meth:`xqueue_core.abc.TaskQueue.put`."""
        answers: list[Accepted] = [Accepted(Put.NEW)] * len(tasks)
        todo = []
        raws: dict[int, bytes] = {}
        timed = any(task.run_at is not None for task in tasks)
        at = (await self._records.now()).wall if timed else 0.0
        for i, task in enumerate(tasks):
            raw = packed(task, self._capabilities, at)
            if isinstance(raw, bytes):
                raws[i] = raw
                todo.append(i)
            else:
                answers[i] = Accepted(Put.REJECTED, error=raw)
        topics: set[str] = set()
        duplicates: dict[str, int] = {}
        with stated(topics):
            for _ in range(ROUNDS):
                todo = await self._round(tasks, raws, todo, answers, topics, duplicates)
                if not todo:
                    break
            else:
                raise Unavailable(f"{len(todo)} ids kept changing hands; try again")
            if duplicates:
                await self._records.swap([Group(counts=duplicates)])
        await self._tasks.ring(topics)
        return answers

    async def _round(
        self,
        tasks: Sequence[Task],
        raws: Mapping[int, bytes],
        todo: Sequence[int],
        answers: list[Accepted],
        topics: set[str],
        duplicates: dict[str, int],
    ) -> list[int]:
        """Try to insert what is left; returns what must be tried again."""
        seen = await self._look([tasks[i] for i in todo])
        groups: list[Group] = []
        tried: list[tuple[int, Sequence[str], str]] = []
        for i in todo:
            group, rung, of = _plan(tasks[i], raws[i], seen, i)
            if group is None:
                self._duplicate(tasks[i], of, answers, i, duplicates)
                continue
            groups.append(group)
            tried.append((i, rung, of))
        taken = []
        swapped = await self._records.swap(groups) if groups else ()
        for (i, rung, of), done in zip(tried, swapped, strict=True):
            if not done:
                taken.append(i)
                continue
            topics.update(rung)  # which also tells that something was changed
            if of:
                self._duplicate(tasks[i], of, answers, i, duplicates)
        if not taken:
            return []
        rows = await self._records.load([f"t/{tasks[i].id}" for i in taken])
        again = []
        for i, row in zip(taken, rows, strict=True):
            if row is None:
                again.append(i)  # its unique key or slot was taken meanwhile
            else:
                self._duplicate(tasks[i], _original(tasks[i].id, row), answers, i, duplicates)
        return again

    async def _look(self, tasks: Sequence[Task]) -> _Seen:
        keys: list[str] = []
        for task in tasks:
            if task.unique_key:
                keys += (f"t/{task.id}", _unique_key(task))
            if task.slot:
                keys += (f"t/{task.id}", f"schedule/{task.slot.schedule}")
        keys = list(dict.fromkeys(keys))
        rows = await self._records.load(keys) if keys else ()
        lines = await self._tasks.lines((t.lane, t.key) for t in tasks if t.key)
        timed = {task.lane for task in tasks if task.queue_timeout is not None}
        lanes = await self._tasks.lanes(timed)
        at = (await self._records.now()).wall
        paused = {name: row.paused_for(at) for name, row in lanes.items()}
        return _Seen(dict(zip(keys, rows, strict=True)), lines, paused, at)

    @staticmethod
    def _duplicate(
        task: Task, of: str, answers: list[Accepted], i: int, counts: dict[str, int]
    ) -> None:
        answers[i] = Accepted(Put.DUPLICATE, of=of)
        name = f"c/{task.lane}/{task.type}/duplicates"
        counts[name] = counts.get(name, 0) + 1


def _plan(task: Task, raw: bytes, seen: _Seen, nth: int) -> tuple[Group | None, Sequence[str], str]:
    """What to write, the topics to ring then, and the task this one duplicates, "" if none.

    A duplicate by its unique key alone still consumes its slot.
    """
    if not seen.rows:
        return *_insert(task, raw, seen, nth), ""
    own = seen.rows.get(f"t/{task.id}")
    if own is not None:
        return None, (), _original(task.id, own)
    slot = None
    if task.slot:
        slot = _fire(task.slot, seen)
        if slot is None:
            return None, (), task.id
    if of := _holder(task, seen):
        return (Group([slot]), (slot.key,), of) if slot else (None, (), of)
    return *_insert(task, raw, seen, nth, slot), ""


def _insert(
    task: Task, raw: bytes, seen: _Seen, nth: int, slot: Change | None = None
) -> tuple[Group, Sequence[str]]:
    """The group that makes the task exist, on condition that nothing of it exists yet.

    And the topics to ring then.
    """
    parked = task.key is not None and (task.lane, task.key) in seen.lines
    paused = seen.paused.get(task.lane, 0.0)
    did = apply(None, Accept(raw, parked, nth), seen.at, paused)
    record = cast(Record, did.record)  # accepting an absent task always makes one
    bucket, order, alarm = layout.place(task, record, seen.at, paused)
    body = layout.pack_task(record)
    changes = [Change(f"t/{task.id}", ABSENT, body, bucket, order, alarm)]
    if task.unique_key:
        key = _unique_key(task)
        row = seen.rows.get(key)
        until = None if task.unique_for is None else seen.at + task.unique_for
        unique = layout.pack(Unique(task.id, until))
        changes.append(Change(key, row.version if row else ABSENT, unique, alarm=until))
    if slot is not None:
        changes.append(slot)
    counts = layout.deltas(task, None, record, did.verdict)
    return Group(changes, encoded(did), counts), rings(record, task)


def _holder(task: Task, seen: _Seen) -> str:
    """The task that holds this one's unique key, as far as was read; "" if none is known."""
    if not task.unique_key:
        return ""
    held = layout.unpack(seen.rows.get(_unique_key(task)), Unique)
    return held.of if held and (held.until is None or held.until > seen.at) else ""


def _fire(slot: Slot, seen: _Seen) -> Change | None:
    """The change that fires a slot, and is known to what follows; None if it has been fired."""
    key = f"schedule/{slot.schedule}"
    row = seen.rows.get(key)
    new = fired(layout.unpack(row, Standing), slot, seen.at)
    if new is None:
        return None
    body = layout.pack(new)
    if row is not None:  # of a new row nobody knows the version: what follows takes another round
        seen.rows[key] = row._replace(version=row.version + 1, body=body)
    return Change(key, row.version if row else ABSENT, body, layout.SCHEDULES)


def _original(id: str, row: Row) -> str:
    """The task an id stands for: itself, or the one it was found to duplicate."""
    try:
        body = layout.unpack_task(row)
    except layout.Unreadable:
        return id
    return body.of if isinstance(body, Record) and body.of else id


def _unique_key(task: Task) -> str:
    return f"u/{task.type}/{task.unique_key}"
