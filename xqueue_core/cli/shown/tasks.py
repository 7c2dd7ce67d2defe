"""A task as commands show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from xqueue_core.cli.output import Part, Table, printable
from xqueue_core.cli.shown.values import compact, content, iso
from xqueue_core.task import Attempt, Failure, Progress, State, Task
from xqueue_core.views import TaskInfo

_MOMENTS = ("accepted", "due", "started", "finished")
#: Longest payload and reason in a row of a list (characters).
SHORT = 60


def summary(info: TaskInfo) -> dict[str, Any]:
    """What lists tell of each task, and the detailed view begins with."""
    return {
        "id": info.id,
        "type": info.type,
        "lane": info.lane,
        "state": info.state.value,
        "reason": why(info),
        "quarantined": info.quarantined,
        "waiting_for": info.waiting_for or None,
        "accepted_at": iso(info.accepted_at),
        "due_at": iso(info.due_at),
        "started_at": iso(info.started_at),
        "finished_at": iso(info.finished_at),
        "attempt": info.attempt,
        "max_attempts": None if info.task is None else info.task.max_retry + 1,
        "losses": info.losses,
        "replays": info.replays,
        "worker": info.worker or None,
        "payload": None if info.task is None else content(info.task.payload),
    }


def details(info: TaskInfo) -> dict[str, Any]:
    """All there is to tell of a task; every field is always there."""
    return {
        **summary(info),
        "content_type": None if info.task is None else info.task.content_type,
        "delivery": info.delivery,
        "cancel_requested": info.cancel_requested,
        "duplicate_of": info.of or None,
        "result": content(info.result),
        "result_kept": info.result is not None,
        "result_type": info.result_type or None,
        "failure": _failure(info.failure),
        "progress": _progress(info.progress),
        "options": None if info.task is None else _options(info.task),
        "history": [_attempt(one) for one in info.history],
    }


def why(info: TaskInfo) -> str | None:
    """In a few words why it is in its state; None if there is nothing to say."""
    failure = info.failure
    if failure is None:
        return info.reason or None
    type_ = failure.type.removeprefix("builtins.")
    said = ": ".join(part for part in (type_, failure.message) if part)
    return said or failure.reason or info.reason or None


def listed(infos: Iterable[TaskInfo]) -> Table:
    """Tasks in rows."""
    columns = ("id", "state", "lane", "attempt", "accepted", "reason", "payload")
    return Table(columns, [_row(info) for info in infos])


def parts(info: TaskInfo, worker: str | None = None) -> list[Part]:
    """The detailed view for people; ``worker`` says in a word how the worker is that has it."""
    lines = [f"  {name:<12}{value}" for name, value in _fields(info, worker) if value]
    shown: list[Part] = [f"{printable(info.id)}", *lines]
    if info.failure is not None and info.failure.traceback:
        shown.append("  traceback")
        shown += [f"    {printable(one)}" for one in info.failure.traceback.splitlines()]
    if info.history:
        shown += ["", _history(info.history)]
    return shown


def _history(attempts: Sequence[Attempt]) -> Table:
    columns = ["attempt", "worker", "started", "ended", "how", "reason"]
    rows = [
        [
            one.attempt,
            one.worker,
            iso(one.started_at),
            iso(one.ended_at),
            one.how or "runs",
            one.reason,
        ]
        for one in attempts
    ]
    if any(one.error for one in attempts):
        columns.append("error")
        for row, one in zip(rows, attempts, strict=True):
            row.append(one.error)
    return Table(columns, rows)


def _fields(info: TaskInfo, worker: str | None) -> Iterator[tuple[str, str]]:
    state = "quarantined" if info.quarantined else info.state.value
    reason = why(info)
    waits = info.state in (State.PENDING, State.SCHEDULED)
    if waits and info.history and info.history[-1].how == "handback":
        reason = f"handed back ({info.reason})"
    yield "state", printable(f"{state}: {reason}" if reason else state)
    yield "waits for", printable(info.waiting_for)
    yield "duplicates", printable(info.of)
    yield "attempt", _attempts(info)
    yield "replays", str(info.replays or "")
    yield "cancel", "requested" if info.cancel_requested else ""
    yield "lane", printable(info.lane)
    if info.task is not None:
        yield "priority", str(info.task.priority)
        yield "key", printable(info.task.key or "")
    # Of a task that waits again the history below says who had it, and when.
    for name in ("accepted", "due", "finished") if waits else _MOMENTS:
        yield name, iso(getattr(info, f"{name}_at")) or ""
    how = "" if worker in (None, "alive") else f", which is {worker}"
    yield "worker", "" if waits else printable(f"{info.worker}{how}")
    yield "progress", _progress_text(info.progress)
    if info.task is not None:
        yield "payload", compact(content(info.task.payload))
        yield "headers", compact(info.task.headers) if info.task.headers else ""
    yield "result", "" if info.result is None else compact(content(info.result))


def _attempts(info: TaskInfo) -> str:
    """Which attempt it is. One that a worker's death took is not charged, and made again."""
    most = "" if info.task is None else f" of {info.task.max_retry + 1}"
    if not info.losses:
        return f"{info.attempt}{most}"
    return f"{info.attempt or 'none'}{most}, not counting {info.losses} lost with a worker"


def _row(info: TaskInfo) -> tuple[object, ...]:
    payload = "" if info.task is None else compact(content(info.task.payload), SHORT)
    state = "quarantined" if info.quarantined else info.state.value
    reason = why(info) or info.waiting_for
    if len(reason) > SHORT:
        reason = f"{reason[: SHORT - 3]}..."
    return info.id, state, info.lane, info.attempt, iso(info.accepted_at), reason, payload


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    names = ("reason", "type", "message", "traceback")
    return {name: getattr(failure, name) for name in names}


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    return {
        "percent": progress.percent,
        "done": progress.done,
        "total": progress.total,
        "message": progress.message,
        "at": iso(progress.at),
    }


def _progress_text(progress: Progress | None) -> str:
    if progress is None:
        return ""
    percent = "" if progress.percent is None else f"{progress.percent:g} %"
    total = "" if progress.total is None else f" of {progress.total:g}"
    done = "" if progress.done is None else f"{progress.done:g}{total}"
    return printable(" ".join(part for part in (percent, done, progress.message) if part))


def _attempt(one: Attempt) -> dict[str, Any]:
    return {
        "delivery": one.delivery,
        "attempt": one.attempt,
        "worker": one.worker,
        "started_at": iso(one.started_at),
        "ended_at": iso(one.ended_at),
        "how": one.how or None,
        "reason": one.reason or None,
        "error": one.error or None,
    }


def _options(task: Task) -> dict[str, Any]:
    slot = task.slot
    return {
        "priority": task.priority,
        "max_retry": task.max_retry,
        "queue_timeout": task.queue_timeout,
        "process_timeout": task.process_timeout,
        "delay": task.delay,
        "run_at": iso(task.run_at),
        "key": task.key,
        "key_limit": task.key_limit,
        "unique": task.unique_key is not None,
        "unique_for": task.unique_for,
        "headers": dict(task.headers),
        "result_ttl": task.result_ttl,
        "failure_ttl": task.failure_ttl,
        "schedule": None if slot is None else {"name": slot.schedule, "at": iso(slot.at)},
    }
