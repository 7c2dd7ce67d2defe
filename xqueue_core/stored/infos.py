"""Shows stored tasks to readers: a row becomes a :class:`~xqueue_core.views.TaskInfo`."""

from __future__ import annotations

import msgspec

from xqueue_core.envelope import decode_task
from xqueue_core.errors import InvalidTask
from xqueue_core.stored import layout
from xqueue_core.stored.layout import Quarantined, Tombstone, Unreadable
from xqueue_core.stored.records import Row
from xqueue_core.task import Event, Progress, Record, State, Task
from xqueue_core.transitions import expires_at
from xqueue_core.views import TaskInfo

#: Kinds of buckets whose name goes on with the lane.
_OF_LANE = ("ready", "later", "line", "done")


def read_info(row: Row) -> TaskInfo | None:
    """The task in a row, None if only its tombstone is left.

    A row that cannot be decoded is shown as quarantined, with what its place tells.
    """
    id = row.key.removeprefix("t/")
    try:
        body = layout.unpack_task(row)
        if isinstance(body, Tombstone):
            return None
        if isinstance(body, Quarantined):
            return _quarantined(id, body.lane, body.field, body.why)
        return _info(decode_task(body.raw), body)
    except (Unreadable, InvalidTask) as error:
        kind, _, rest = row.bucket.partition("/")
        lane = rest.partition("/")[0] if kind in _OF_LANE else id.partition(":")[0]
        return _quarantined(id, lane, layout.gauge(row.bucket), str(error))


def may_expire(info: TaskInfo) -> bool:
    """True for a task that waits, and does not do so for ever."""
    waits = info.state in (State.PENDING, State.SCHEDULED)
    return waits and info.task is not None and info.task.queue_timeout is not None


def read_expiry(row: Row, info: TaskInfo, paused: float) -> float:
    """When such a task in this row has waited too long; ``paused`` is its lane's total."""
    body = layout.unpack_task(row)
    if not isinstance(body, Record) or info.task is None:
        return 0.0
    return expires_at(info.task, body, paused) or 0.0


def read_progress(event: Event) -> Progress | None:
    """The progress an event carries, None if it carries none."""
    try:
        found = msgspec.convert(event.data, _Fields)
    except msgspec.ValidationError:
        return None
    return Progress(found.percent, found.done, found.total, found.message, event.at)


class _Fields(msgspec.Struct):
    """Progress as an event's data carries it."""

    percent: float | None = None
    done: float | None = None
    total: float | None = None
    message: str = ""


def _info(task: Task, record: Record) -> TaskInfo:
    return TaskInfo(
        id=task.id,
        lane=task.lane,
        state=record.state,
        task=task,
        waiting_for=f"key:{task.key}" if record.parked else "",
        accepted_at=record.accepted_at,
        due_at=record.due_at,
        rank=record.rank,
        started_at=record.leased_at,
        finished_at=record.finished_at,
        attempt=record.attempt,
        losses=record.losses,
        delivery=record.delivery,
        worker=record.worker,
        seq=record.seq,
        cancel_requested=bool(record.cancel),
        reason=record.reason,
        result=record.result,
        result_type=record.result_type,
        failure=record.failure,
        of=record.of,
        replays=record.replays,
        history=list(record.history),
    )


def _quarantined(id: str, lane: str, field: str, why: str) -> TaskInfo:
    state = State(field) if field else State.PENDING
    return TaskInfo(id=id, lane=lane, state=state, quarantined=True, reason=why)
