"""What every view shows in the same way: how a record becomes what readers see of it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from xqueue_core.envelope import decode_task
from xqueue_core.task import Event, Progress, Record, State
from xqueue_core.views import LaneStats, Stats, TaskInfo, TypeStats

_COUNTED = frozenset(TypeStats.__struct_fields__)


def shown(record: Record) -> TaskInfo:
    """A task as a reader sees it. Raises InvalidTask if its envelope cannot be decoded."""
    task = decode_task(record.raw)
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


def shown_quarantined(id: str, lane: str, field: str, why: str) -> TaskInfo:
    """A task that cannot be decoded; ``field`` is the state that it is counted in, "" if none."""
    state = State(field) if field else State.PENDING
    return TaskInfo(id=id, lane=lane, state=state, quarantined=True, reason=why)


def may_expire(info: TaskInfo) -> bool:
    """True for a task that waits, and does not do so for ever."""
    waits = info.state in (State.PENDING, State.SCHEDULED)
    return waits and info.task is not None and info.task.queue_timeout is not None


def read_progress(event: Event) -> Progress | None:
    """The progress an event carries, None if it carries none."""
    try:
        found = msgspec.convert(event.data, _Fields)
    except msgspec.ValidationError:
        return None
    return Progress(found.percent, found.done, found.total, found.message, event.at)


def lane_stats(stats: Stats, name: str) -> LaneStats:
    """The named lane in a ledger; it is entered if it is not there yet."""
    return stats.lanes.setdefault(name, LaneStats())


def enter_counts(stats: Stats, found: Iterable[tuple[str, int]]) -> None:
    """Enter counts, by ``<lane>/<type>/<field>``. Fields of another version are left out."""
    for name, n in found:
        lane, _, rest = name.partition("/")
        type_, _, field = rest.partition("/")
        if field in _COUNTED:
            setattr(lane_stats(stats, lane).types.setdefault(type_, TypeStats()), field, n)


class _Fields(msgspec.Struct):
    """Progress as an event's data carries it."""

    percent: float | None = None
    done: float | None = None
    total: float | None = None
    message: str = ""
