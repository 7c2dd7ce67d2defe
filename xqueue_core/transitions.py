"""The one state machine: a record and a command give a new record, its events and a verdict.

Pure: no clock, no I/O, nothing remembered. Every backend either calls :func:`apply` or is
tested against it on random command sequences. What each outcome of a delivery does is in
:mod:`xqueue_core.outcomes`. Every pair of state and command is decided here;
``docs/states.md`` draws the table and ``tests/unit/test_transitions.py`` walks it.

``at`` is the broker's wall clock. ``paused`` is for how many seconds the task's lane has been
paused in all so far: ``queue_timeout`` stands still meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from xqueue_core.calls import Cancel, Purge, Replay, Reschedule, Settle
from xqueue_core.checks import edited
from xqueue_core.commands import (
    Accept,
    Command,
    Expire,
    Expunge,
    Lease,
    Leave,
    Lose,
    MarkDuplicate,
    Promote,
    Said,
    Step,
)
from xqueue_core.envelope import decode_task, encode_task
from xqueue_core.outcomes import lose, settle
from xqueue_core.steps import begin_wait, finish, rank, resumed, said
from xqueue_core.task import (
    FINAL,
    HISTORY_KEPT,
    Attempt,
    Event,
    EventName,
    Failure,
    Record,
    State,
    Task,
)

#: The reason of a task that a purge has canceled.
PURGED = "purged"


def apply(record: Record | None, command: Command, at: float, paused: float = 0.0) -> Step:
    """Carry out one command. Never raises for any state, command or token."""
    task = decode_task(record.raw) if record is not None else None
    return step(task, record, command, at, paused)


def step(
    task: Task | None, record: Record | None, command: Command, at: float, paused: float
) -> Step:
    """:func:`apply` for a caller that has decoded ``record.raw`` already."""
    if isinstance(command, Accept):
        return _accept(record, command, at, paused)
    if record is None or task is None:
        return Step(None, Said.LOST if isinstance(command, Settle | Lose) else Said.UNKNOWN)
    if record.state is State.MOVING or record.state is State.MOVED:
        return Step(record, Said.MOVED)
    return _RULES[type(command)](task, record, command, at, paused)


def expires_at(task: Task, record: Record, paused: float) -> float | None:
    """When a waiting task becomes ``timeout`` if its lane is not paused until then."""
    if task.queue_timeout is None or record.state not in (State.PENDING, State.SCHEDULED):
        return None
    # What was paused before the wait began does not count; it is known only from then on.
    began = record.state is State.PENDING or resumed(record)
    # Never below 0: a lane's row that was lost and made anew has been paused for less.
    stood = max(0.0, paused - record.wait_base) if began else 0.0
    return record.wait_from + task.queue_timeout + stood


def expunged_at(task: Task, record: Record) -> float | None:
    """When a final task's record may go."""
    if record.state not in FINAL:
        return None
    failed = record.state in (State.FAILED, State.TIMEOUT)
    return record.finished_at + (task.failure_ttl if failed else task.result_ttl)


# -- arriving and waiting ---------------------------------------------------------------------


def _accept(record: Record | None, command: Accept, at: float, paused: float) -> Step:
    if record is not None:
        return Step(record, Said.DUPLICATE)
    task = decode_task(command.raw)
    due = at + task.delay if task.run_at is None else task.run_at
    new = Record(command.raw, State.PENDING, 0, accepted_at=at, due_at=at, wait_from=at)
    begin_wait(new, due, at, paused)
    new.rank += command.nth
    new.parked = command.parked and new.state is State.PENDING
    return said(task, new, at, EventName.ACCEPTED)


def _promote(task: Task, record: Record, command: Promote, at: float, paused: float) -> Step:
    if record.state is not State.SCHEDULED:
        return Step(record, Said.IDLE)
    if record.due_at > at:
        return Step(record, Said.EARLY)
    new = copy(record)
    new.state = State.PENDING
    new.parked = command.parked
    # What nobody here could run goes to the back; the others in order of their times.
    new.rank = rank(at if resumed(record) else record.due_at)
    if not resumed(record):
        new.wait_base = paused - command.stood
    return said(task, new, at, EventName.DUE)


def _reschedule(task: Task, record: Record, command: Reschedule, at: float, paused: float) -> Step:
    if record.state is State.PROCESSING:
        return Step(record, Said.RUNNING)
    if record.state in FINAL:
        return Step(record, Said.FINAL)
    due = at + command.delay if command.run_at is None else command.run_at
    new = copy(record)
    begin_wait(new, due, at, paused)
    new.parked = record.parked and new.state is State.PENDING
    return said(task, new, at, EventName.RESCHEDULED)


def _leave(task: Task, record: Record, command: Leave, at: float, paused: float) -> Step:
    if not record.parked:
        return Step(record, Said.IDLE)
    new = copy(record)
    new.parked = False
    return said(task, new, at, EventName.UNPARKED)


def _expire(task: Task, record: Record, command: Expire, at: float, paused: float) -> Step:
    deadline = expires_at(task, record, paused)
    if deadline is None:
        return Step(record, Said.IDLE)
    if deadline > at:
        return Step(record, Said.EARLY)
    failure = Failure("queue_timeout", message=f"waited longer than {task.queue_timeout} s")
    new = copy(record)
    return finish(task, new, State.TIMEOUT, at, "queue_timeout", failure)


def _lease(task: Task, record: Record, command: Lease, at: float, paused: float) -> Step:
    if record.state is not State.PENDING or record.parked:
        return Step(record, Said.EARLY if record.state is State.SCHEDULED else Said.IDLE)
    deadline = expires_at(task, record, paused)
    if deadline is not None and deadline <= at:
        ended = _expire(task, record, Expire(), at, paused)
        return Step(ended.record, Said.EXPIRED, ended.events)
    new = copy(record)
    new.state = State.PROCESSING
    new.delivery = max(record.delivery + 1, command.floor)
    new.attempt = record.attempt + 1
    new.worker = command.worker
    new.call = command.call
    new.leased_at = at
    new.reason = ""
    entry = Attempt(new.delivery, new.attempt, command.worker, at)
    new.history = [*record.history[1 - HISTORY_KEPT :], entry]
    return said(task, new, at, EventName.LEASED)


# -- wishes from outside ------------------------------------------------------------------------


def _cancel(task: Task, record: Record, command: Cancel, at: float, paused: float) -> Step:
    if (already := repeated(command, record.wish, record.wish_told)) is not None:
        return Step(record, already)
    # A text that cannot be stored must not fail the commands that come with it.
    reason = command.reason.encode(errors="backslashreplace").decode()
    return _end_early(task, record, at, reason or "canceled", command.request)


def repeated(command: Command, wish: str, told: bool) -> Said | None:
    """What a cancel or purge did that is given once more; None if this is another.

    Args:
        command: any command.
        wish: the request of the last one that the task, or what is left of it, remembers.
        told: whether the task ran then.
    """
    if not isinstance(command, Cancel | Purge) or not command.request or command.request != wish:
        return None
    return Said.REQUESTED if told else Said.APPLIED


def remembered(record: Record, command: Command) -> tuple[str, bool]:
    """The wish that is to be remembered of a task whose record this command has removed."""
    if isinstance(command, Purge) and command.request:
        return command.request, False
    return record.wish, record.wish_told


def _mark(task: Task, record: Record, command: MarkDuplicate, at: float, paused: float) -> Step:
    if record.state in FINAL:
        return Step(record, Said.FINAL)
    if record.cancel and record.of == command.of:
        return Step(record, Said.REQUESTED)
    new = copy(record)
    new.of = command.of
    if record.state is not State.PROCESSING:
        return finish(task, new, State.CANCELED, at, "duplicate")
    # Told even if a cancel was requested before: only then is it known whose duplicate it is.
    new.cancel = record.cancel or "duplicate"
    return _requested(task, new, at, "duplicate")


def _end_early(task: Task, record: Record, at: float, reason: str, request: str) -> Step:
    if record.state in FINAL:
        return Step(record, Said.FINAL)
    if record.state is State.PROCESSING and record.cancel:
        return Step(record, Said.REQUESTED)
    new = copy(record)
    new.wish, new.wish_told = request, record.state is State.PROCESSING
    if record.state is not State.PROCESSING:
        return finish(task, new, State.CANCELED, at, reason)
    new.cancel = reason
    return _requested(task, new, at, reason)


def _requested(task: Task, new: Record, at: float, reason: str) -> Step:
    told = said(task, new, at, EventName.CANCEL_REQUESTED, reason)
    return Step(told.record, Said.REQUESTED, told.events)


def _purge(task: Task, record: Record, command: Purge, at: float, paused: float) -> Step:
    if (already := repeated(command, record.wish, record.wish_told)) is not None:
        return Step(record, already)
    if command.seq is not None and command.seq != record.seq:
        return Step(record, _purged_already(record, command.seq))
    if record.state in FINAL:
        return _gone(task, record, at)
    return _end_early(task, record, at, PURGED, command.request)


def _purged_already(record: Record, seen: int) -> Said:
    """What to say of a purge that names an earlier event: its first reply may have been lost."""
    if record.seq == seen + 1:
        if record.state is State.CANCELED and record.reason == PURGED:
            return Said.APPLIED
        if record.state is State.PROCESSING and record.cancel == PURGED:
            return Said.REQUESTED
    return Said.CHANGED


def _expunge(task: Task, record: Record, command: Expunge, at: float, paused: float) -> Step:
    goes_at = expunged_at(task, record)
    if goes_at is None:
        return Step(record, Said.LIVE)
    if goes_at > at:
        return Step(record, Said.EARLY)
    return _gone(task, record, at)


def _replay(task: Task, record: Record, command: Replay, at: float, paused: float) -> Step:
    if command.request and command.request == record.replay_request:
        return Step(record, Said.REPEATED)
    if record.state not in FINAL:
        return Step(record, Said.LIVE)
    if command.seq not in (None, record.seq):
        return Step(record, Said.CHANGED)
    if command.edit is not None and not task.readable:
        return Step(record, Said.UNSUPPORTED)  # what is not known here would be lost
    edit = edited(task, command.edit, command.delay)
    if not isinstance(edit, Task):
        return Step(record, Said.INVALID)  # a put would have been refused
    new = copy(record)
    if command.edit is not None:
        new.raw = encode_task(edit)
    new.attempt = new.losses = new.unable = 0
    new.cancel = new.reason = new.result_type = new.of = new.worker = ""
    new.result = new.failure = None
    new.finished_at = 0.0
    new.replays += 1
    new.replay_request = command.request
    begin_wait(new, at + command.delay, at, paused)
    return said(task, new, at, EventName.REPLAYED)


def _gone(task: Task, record: Record, at: float) -> Step:
    event = Event(
        task.id, record.seq + 1, EventName.EXPUNGED, record.state, at, task.lane, record.attempt
    )
    return Step(None, Said.APPLIED, (event,))


_Rule = Callable[[Task, Record, Any, float, float], Step]

_RULES: dict[type, _Rule] = {
    Promote: _promote,
    Lease: _lease,
    Settle: settle,
    Lose: lose,
    Leave: _leave,
    Cancel: _cancel,
    Replay: _replay,
    Reschedule: _reschedule,
    Purge: _purge,
    Expire: _expire,
    Expunge: _expunge,
    MarkDuplicate: _mark,
}
