"""What was read of tasks' rows, and what a queue remembers of the tasks it has leased."""

from __future__ import annotations

from typing import NamedTuple

from xqueue_core.envelope import decode_task
from xqueue_core.errors import InvalidTask
from xqueue_core.stored.layout import Quarantined, Tombstone, Unreadable, unpack_task
from xqueue_core.stored.records import Now, Row
from xqueue_core.task import Record, Task

#: Most tasks remembered, and the largest of them (bytes of the row's body).
_TASKS = 4_096
_BYTES = 16 * 1024


class Read(NamedTuple):
    """A task's row, decoded. ``why`` is not empty if it is unreadable."""

    row: Row | None
    body: Record | Tombstone | Quarantined | None = None
    task: Task | None = None
    why: str = ""


def decoded(row: Row | None) -> Read:
    """What a task's row holds."""
    if row is None:
        return Read(None)
    try:
        body = unpack_task(row)
        task = decode_task(body.raw) if isinstance(body, Record) else None
    except (Unreadable, InvalidTask) as error:
        return Read(row, why=str(error) or "unreadable")
    return Read(row, body, task)


class Kept(NamedTuple):
    """A row as it was written at this time."""

    read: Read
    at: Now

    def fresh(self, now: Now, seconds: float) -> bool:
        """True if it was written at most so long ago."""
        return self.at.epoch == now.epoch and now.steady - self.at.steady <= seconds


class Recent:
    """Tasks as this queue has just leased them, so that settling one need not read it again.

    What is remembered may be out of date, so nothing may be answered by it alone: it serves to
    prepare a swap, which the versions confirm or refuse. Each is given out once; what is never
    asked for is bounded.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}  # the oldest first

    def keep(self, row: Row, record: Record, task: Task, at: Now) -> None:
        """Remember a task's row as it was written."""
        if len(row.body) > _BYTES:
            return
        self._kept.pop(row.key, None)
        self._kept[row.key] = Kept(Read(row, record, task), at)
        if len(self._kept) > _TASKS:
            del self._kept[next(iter(self._kept))]

    def take(self, id: str) -> Kept | None:
        """What is remembered of this task; it is forgotten."""
        return self._kept.pop(f"t/{id}", None)
