"""Where everything lies: keys, buckets, orders and bodies of the rows, and names of the counts.

========================  =====================================  ==========================
row                       bucket, order                          body
========================  =====================================  ==========================
``t/<id>``                by state, see :func:`place`            Record, Tombstone or
                                                                 Quarantined
``u/<type>/<hash>``       none                                   Unique
``lane/<lane>``           ``lanes``                              LaneRow
``type/<type>``           ``types``                              TypeRow
``worker/<id>``           ``workers``                            WorkerRow
``orders/<id>``           none                                   Orders
``left/<id>``             none                                   Left
``turn/<id>``             none                                   TurnRow
``lost/<id>``             none                                   WorkerRow
``schedule/<name>``       ``schedules``                          Standing
``mark``                  none                                   Mark
``progress/<id>``         none                                   Progress
``still/<lane>``          none                                   Place, see ``still``
``s/<key>``, ...          see ``semaphore``                      a key's permits
========================  =====================================  ==========================

The order of a held task's row tells what heartbeats need to know: see :func:`held_order`.

Counts: ``c/<lane>/<type>/<field>`` for the fields of ``TypeStats``, ``k/<lane>/<key>`` for how
many tasks wait in a key's line, ``h/<worker>`` for how many a worker holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from xqueue_core.calls import Beat
from xqueue_core.commands import Said
from xqueue_core.recurring.standing import Standing
from xqueue_core.stored.gate import Gate
from xqueue_core.stored.leases import Registration, RenewalMark
from xqueue_core.stored.records import Row
from xqueue_core.task import Record, State, Task
from xqueue_core.transitions import expires_at, expunged_at

LANES = "lanes"
TYPES = "types"
WORKERS = "workers"
SCHEDULES = "schedules"
QUARANTINE = "quarantine"
MARK = "mark"

_LEVEL = 1 << 56
#: How much of a row's version the order of a held one repeats, and the tokens it has room for.
_STAMPS = 1 << 8
_TOKENS = 1 << 52
_RECORD, _TOMBSTONE, _QUARANTINED = b"R", b"T", b"Q"


class Unreadable(Exception):
    """A task's row cannot be decoded; the caller puts it in quarantine."""


class Tombstone(msgspec.Struct, array_like=True):
    """What is left of an expunged task: its id is taken until ``until``.

    ``wish`` and ``wish_told`` as in its record, or those of the purge that removed it.
    """

    until: float
    settled: list[int] = []
    wish: str = ""
    wish_told: bool = False


class Quarantined(msgspec.Struct, array_like=True):
    """A task's row that could not be decoded. ``field`` is the gauge it is counted in."""

    lane: str
    field: str
    why: str
    body: bytes


class Unique(msgspec.Struct, array_like=True):
    """The task that holds a unique key: until its end if ``until`` is None."""

    of: str
    until: float | None


class LaneRow(msgspec.Struct, array_like=True):
    """A lane's pause flag, and how long it has been paused before ``paused_since``."""

    paused: bool = False
    paused_total: float = 0.0
    paused_since: float = 0.0

    def paused_for(self, at: float) -> float:
        """Seconds for which the lane has been paused in all."""
        return self.paused_total + (max(0.0, at - self.paused_since) if self.paused else 0.0)


class TypeRow(msgspec.Struct, array_like=True):
    """The lane of a type."""

    lane: str


class WorkerRow(msgspec.Struct, array_like=True):
    """A worker's last heartbeat, by the store's clocks. ``dead`` once it was given up.

    ``waiting`` are the deliveries (id and token) of which it said that they had not started.
    """

    beat: Beat
    steady: float
    epoch: str
    wall: float
    dead: bool = False
    waiting: list[tuple[str, int]] = []


class Orders(msgspec.Struct, array_like=True):
    """What an operator ordered a worker to do; ``of`` which process if it was declared dead."""

    quiet: bool = False
    stop: bool = False
    of: tuple[str, int, float] | None = None


class Left(msgspec.Struct, array_like=True):
    """The number of the heartbeat with which a worker left, and which process it was."""

    number: int
    of: tuple[str, int, float]


class Turn(msgspec.Struct, array_like=True):
    """Whose turn it is among the levels of a lane, for one worker (P2.3)."""

    count: int = 0  # leases made while a lower level waited
    last: dict[int, int] = {}  # level -> count at its last turn


class TurnRow(msgspec.Struct, array_like=True):
    """A worker's last call number, and whose turn it is."""

    call: int = 0
    lane: str = ""  # the lane served last
    lanes: dict[str, Turn] = {}


class Mark(msgspec.Struct, array_like=True):
    """When workers could last renew their leases (P1.4)."""

    steady: float
    epoch: str
    grace_until: float = 0.0  # steady seconds: nothing is reclaimed before


_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_tombstone = msgspec.msgpack.Decoder(Tombstone).decode
_decode_quarantined = msgspec.msgpack.Decoder(Quarantined).decode

T = TypeVar("T")

#: What reads the rows that are not a task's, by what is in them.
_READERS: dict[type, Callable[[bytes], Any]] = {}


def readable(*kinds: type) -> None:
    """Prepare to :func:`unpack` these, as their module is imported: by one thread.

    Msgspec looks at a class when it is first read, and crashes if two threads do that at once.
    """
    _READERS.update((kind, msgspec.msgpack.Decoder(kind).decode) for kind in kinds)


readable(Unique, LaneRow, TypeRow, WorkerRow, Orders, Left, TurnRow, Mark)
readable(Standing, Gate, Registration, RenewalMark)


def pack(value: Any) -> bytes:
    """Body of a row that is not a task's."""
    return _encode(value)


def unpack(row: Row | None, kind: type[T]) -> T | None:
    """The value in such a row; None if there is no row, or if it is damaged beyond reading.

    These rows hold nothing that is not written anew, so a damaged one counts as absent. ``kind``
    was given to :func:`readable` before.
    """
    if row is None:
        return None
    read: Callable[[bytes], T] = _READERS[kind]
    try:
        return read(row.body)
    except msgspec.MsgspecError:
        return None


def pack_task(body: Record | Tombstone | Quarantined) -> bytes:
    """Body of a task's row."""
    if isinstance(body, Record):
        return _RECORD + _encode(body)
    return (_TOMBSTONE if isinstance(body, Tombstone) else _QUARANTINED) + _encode(body)


def unpack_task(row: Row) -> Record | Tombstone | Quarantined:
    """What a task's row holds. Raises Unreadable."""
    kind = row.body[:1]
    try:
        if kind == _RECORD:
            return _decode_record(memoryview(row.body)[1:])
        if kind == _TOMBSTONE:
            return _decode_tombstone(memoryview(row.body)[1:])
        if kind == _QUARANTINED:
            return _decode_quarantined(memoryview(row.body)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error
    raise Unreadable(f"unknown kind of row: {kind!r}")


def ready(lane: str) -> str:
    """Bucket of the tasks of a lane that may be leased."""
    return f"ready/{lane}"


def later(lane: str) -> str:
    """Bucket of a lane's scheduled tasks."""
    return f"later/{lane}"


def line(lane: str, key: str) -> str:
    """Bucket of the tasks parked behind a key; also the name of nothing else."""
    return f"line/{lane}/{key}"


def held(worker: str) -> str:
    """Bucket of what a worker has leased."""
    return f"held/{worker}"


def holding(worker: str) -> str:
    """Count of what a worker has leased."""
    return f"h/{worker}"


def done(lane: str) -> str:
    """Bucket of a lane's final tasks."""
    return f"done/{lane}"


def ready_order(priority: int, rank: int) -> int:
    """Order within ``ready``: level by level from the highest, then by arrival."""
    return (9 - max(0, min(9, priority))) * _LEVEL + rank


def level_of(order: int) -> int:
    """The priority in a ``ready`` order."""
    return 9 - order // _LEVEL


def below(level: int) -> tuple[int, str]:
    """The scan position after which only lower priorities than ``level`` follow."""
    return ((9 - level + 1) * _LEVEL - 1, "\U0010ffff")


def held_order(token: int, cancel: bool, version: int) -> int:
    """Order within ``held``: token, end of the version, and whether a cancel was asked for.

    So a heartbeat need not read what may be large (decision 0018).
    """
    if token >= _TOKENS:
        return 0  # tells of no delivery, so that the body is read
    return (token * _STAMPS + version % _STAMPS) * 2 + cancel


def told(row: Row) -> tuple[int, bool] | None:
    """Token and cancel that the order of a held row tells of.

    None if the row was written by somebody who left its order as it was, or knows of no such
    one. Trust it only for a token that is known from elsewhere, or read the body.
    """
    rest, cancel = divmod(row.order, 2)
    token, stamp = divmod(rest, _STAMPS)
    return (token, bool(cancel)) if stamp == row.version % _STAMPS else None


def place(
    task: Task, record: Record, at: float, paused: float, version: int = 0
) -> tuple[str, int, float | None]:
    """Bucket, order and alarm of a record; ``version`` is the one that its row will have."""
    state = record.state
    if state is State.PROCESSING:
        return held(record.worker), held_order(record.delivery, bool(record.cancel), version), None
    if state is State.PENDING:
        alarm = expires_at(task, record, paused) if task.queue_timeout is not None else None
        if record.parked:
            # By arrival, so that a task that parks again keeps its place in the line.
            return line(task.lane, task.key or ""), record.rank, alarm
        return ready(task.lane), ready_order(task.priority, record.rank), alarm
    if state is State.SCHEDULED:
        expires = expires_at(task, record, paused) if task.queue_timeout is not None else None
        alarm = record.due_at if expires is None else min(expires, record.due_at)
        return later(task.lane), int(record.due_at * 1e6), alarm
    return done(task.lane), int(record.finished_at * 1e6), expunged_at(task, record)


def gauge(bucket: str) -> str:
    """The gauge that counts a row in this bucket, "" if none does."""
    kind = bucket.partition("/")[0]
    return {"ready": "pending", "line": "pending", "later": "scheduled", "held": "processing"}.get(
        kind, ""
    )


def deltas(
    task: Task, before: Record | None, after: Record | None, said: Said
) -> Mapping[str, int]:
    """How a step changes the counts. The answer is shared: nobody changes it."""
    old = before.state if before is not None else None
    new = after.state if after is not None else None
    replayed = before is not None and after is not None and after.replays > before.replays
    left = before.worker if before is not None and old is State.PROCESSING else ""
    taken = after.worker if after is not None and new is State.PROCESSING else ""
    moved = _moved(task.lane, task.type, old, new, replayed, left, taken)
    was = before is not None and before.parked
    now = after is not None and after.parked
    if was == now:
        return moved
    n = 1 if now else -1
    return {**moved, f"c/{task.lane}/{task.type}/parked": n, f"k/{task.lane}/{task.key or ''}": n}


@lru_cache(maxsize=10_000)
def _moved(
    lane: str,
    type: str,
    old: State | None,
    new: State | None,
    replayed: bool,
    left: str,
    taken: str,
) -> Mapping[str, int]:
    """The counts that follow from states and workers alone: the same few for many tasks."""
    prefix = f"c/{lane}/{type}/"
    counts: Counter[str] = Counter()
    if old is None and new is not None:
        counts[prefix + "accepted"] += 1
    if replayed:
        counts[prefix + "replayed"] += 1
    if old is not None and not old.final:
        counts[prefix + old.value] -= 1
    if new is not None and (new is not old or not new.final):
        counts[prefix + new.value] += 1
    if left:
        counts[holding(left)] -= 1
    if taken:
        counts[holding(taken)] += 1
    return {name: n for name, n in counts.items() if n}
