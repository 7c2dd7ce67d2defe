"""The one state machine: a record and a command give a new record, its events and a verdict.

Pure: no clock, no I/O, nothing remembered. Every backend either calls :func:`apply` or is
tested against it on random command sequences. Every pair of state and command is decided here;
``docs/states.md`` draws the table and ``tests/unit/test_transitions.py`` walks it.

``at`` is the broker's wall clock. ``paused`` is for how many seconds the task's lane has been
paused in all so far: ``queue_timeout`` stands still meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import msgspec

from xqueue_core.calls import Cancel, Purge, Replay, Reschedule, Settle
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
from xqueue_core.task import (
    FINAL,
    HISTORY_KEPT,
    MAX_LOSSES,
    SETTLED_KEPT,
    Attempt,
    Canceled,
    Event,
    EventName,
    Failed,
    Failure,
    HandBack,
    Outcome,
    Parked,
    Record,
    RetryAt,
    State,
    Success,
    Task,
    TimedOut,
)

#: Longest wait between two workers that cannot run a task (seconds).
UNABLE_CAP = 60.0


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
    stood = paused - record.wait_base if record.state is State.PENDING or _resumed(record) else 0.0
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
    waits = due > at
    new = Record(
        raw=command.raw,
        state=State.SCHEDULED if waits else State.PENDING,
        rank=_rank(at) + command.nth,
        accepted_at=at,
        due_at=due if waits else at,
        wait_from=due if waits else at,
        wait_base=paused,
        parked=command.parked and not waits,
    )
    return _said(task, new, at, EventName.ACCEPTED)


def _promote(task: Task, record: Record, command: Promote, at: float, paused: float) -> Step:
    if record.state is not State.SCHEDULED:
        return Step(record, Said.IDLE)
    if record.due_at > at:
        return Step(record, Said.EARLY)
    new = copy(record)
    new.state = State.PENDING
    new.parked = command.parked
    new.rank = _rank(at)
    if not _resumed(record):
        new.wait_base = paused
    return _said(task, new, at, EventName.DUE)


def _reschedule(task: Task, record: Record, command: Reschedule, at: float, paused: float) -> Step:
    if record.state is State.PROCESSING:
        return Step(record, Said.RUNNING)
    if record.state in FINAL:
        return Step(record, Said.FINAL)
    due = at + command.delay if command.run_at is None else command.run_at
    new = copy(record)
    _wait(new, due, at, paused)
    new.parked = record.parked and new.state is State.PENDING
    return _said(task, new, at, EventName.RESCHEDULED)


def _leave(task: Task, record: Record, command: Leave, at: float, paused: float) -> Step:
    if not record.parked:
        return Step(record, Said.IDLE)
    new = copy(record)
    new.parked = False
    return _said(task, new, at, EventName.UNPARKED)


def _expire(task: Task, record: Record, command: Expire, at: float, paused: float) -> Step:
    deadline = expires_at(task, record, paused)
    if deadline is None:
        return Step(record, Said.IDLE)
    if deadline > at:
        return Step(record, Said.EARLY)
    failure = Failure("queue_timeout", message=f"waited longer than {task.queue_timeout} s")
    new = copy(record)
    return _finish(task, new, State.TIMEOUT, at, "queue_timeout", failure)


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
    return _said(task, new, at, EventName.LEASED)


# -- the end of a delivery --------------------------------------------------------------------


def _settle(task: Task, record: Record, command: Settle, at: float, paused: float) -> Step:
    if record.state is not State.PROCESSING or command.token != record.delivery:
        known = command.token in record.settled
        return Step(record, Said.REPEATED if known else Said.LOST)
    new = copy(record)
    new.settled = [*record.settled[1 - SETTLED_KEPT :], command.token]
    outcome = command.outcome
    if isinstance(outcome, Success):
        new.result, new.result_type = outcome.result, outcome.content_type
        return _finish(task, new, State.SUCCESS, at, "")
    if record.cancel or isinstance(outcome, Canceled):
        given = outcome.reason if isinstance(outcome, Canceled) else ""
        return _finish(task, new, State.CANCELED, at, record.cancel or given or "worker")
    return _OUTCOMES[type(outcome)](task, new, outcome, at, paused)


def _failed(task: Task, new: Record, outcome: Failed, at: float, paused: float) -> Step:
    return _finish(task, new, State.FAILED, at, outcome.failure.reason, outcome.failure)


def _timed_out(task: Task, new: Record, outcome: TimedOut, at: float, paused: float) -> Step:
    return _finish(task, new, State.TIMEOUT, at, outcome.failure.reason, outcome.failure)


def _retry(task: Task, new: Record, outcome: RetryAt, at: float, paused: float) -> Step:
    if new.attempt > task.max_retry:
        state = State.TIMEOUT if outcome.timed_out else State.FAILED
        return _finish(task, new, state, at, outcome.failure.reason, outcome.failure)
    _close(new, at, "retry", outcome.failure.reason)
    _wait(new, at + outcome.delay, at, paused)
    new.failure = outcome.failure
    new.unable = 0
    return _said(task, new, at, EventName.RETRY, outcome.failure.reason)


def _hand_back(task: Task, new: Record, outcome: HandBack, at: float, paused: float) -> Step:
    # Work that had begun keeps its charge, except that a hand-back never ends a task.
    if not outcome.ran or new.attempt > task.max_retry:
        new.attempt -= 1
    _close(new, at, "handback", outcome.unable or outcome.reason)
    new.state = State.PENDING
    if outcome.unable:
        new.due_at = at + min(UNABLE_CAP, 2.0 ** min(new.unable, 10))
        new.state = State.SCHEDULED
        new.unable += 1
    else:
        new.unable = 0
    new.reason = outcome.unable or outcome.reason
    return _said(task, new, at, EventName.HANDED_BACK, new.reason)


def _park(task: Task, new: Record, outcome: Parked, at: float, paused: float) -> Step:
    new.attempt -= 1
    _close(new, at, "parked", "")
    new.state = State.PENDING
    new.parked = True
    new.unable = 0
    return _said(task, new, at, EventName.PARKED)


def _lose(task: Task, record: Record, command: Lose, at: float, paused: float) -> Step:
    if record.state is not State.PROCESSING or command.token != record.delivery:
        return Step(record, Said.LOST)
    new = copy(record)
    new.losses += 1
    new.attempt -= 1
    if record.cancel:
        return _finish(task, new, State.CANCELED, at, record.cancel, how="lost")
    if new.losses >= MAX_LOSSES:
        failure = Failure("worker_lost", message=f"{new.losses} workers died while they held it")
        return _finish(task, new, State.FAILED, at, "worker_lost", failure, how="lost")
    _close(new, at, "lost", f"worker {record.worker} was declared dead")
    new.state = State.PENDING
    return _said(task, new, at, EventName.LOST, "worker_lost")


# -- wishes from outside ------------------------------------------------------------------------


def _cancel(task: Task, record: Record, command: Cancel, at: float, paused: float) -> Step:
    return _end_early(task, record, at, command.reason or "canceled")


def _mark(task: Task, record: Record, command: MarkDuplicate, at: float, paused: float) -> Step:
    if record.state in FINAL:
        return Step(record, Said.FINAL)
    new = copy(record)
    new.of = command.of
    return _end_early(task, new, at, "duplicate")


def _end_early(task: Task, record: Record, at: float, reason: str) -> Step:
    if record.state in FINAL:
        return Step(record, Said.FINAL)
    if record.state is not State.PROCESSING:
        return _finish(task, copy(record), State.CANCELED, at, reason)
    if record.cancel:
        return Step(record, Said.REQUESTED)
    new = copy(record)
    new.cancel = reason
    told = _said(task, new, at, EventName.CANCEL_REQUESTED, reason)
    return Step(told.record, Said.REQUESTED, told.events)


def _purge(task: Task, record: Record, command: Purge, at: float, paused: float) -> Step:
    if record.state in FINAL:
        return _gone(task, record, at)
    return _end_early(task, record, at, "purged")


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
    new = copy(record)
    if command.edit is not None:
        changes = {n: v for n, v in _fields(command.edit) if v is not None}
        new.raw = encode_task(msgspec.structs.replace(task, **changes))
    new.attempt = new.losses = new.unable = 0
    new.cancel = new.reason = new.result_type = new.of = new.worker = ""
    new.result = new.failure = None
    new.finished_at = 0.0
    new.replays += 1
    new.replay_request = command.request
    _wait(new, at + command.delay, at, paused)
    return _said(task, new, at, EventName.REPLAYED)


def _fields(struct: msgspec.Struct) -> list[tuple[str, Any]]:
    return [(name, getattr(struct, name)) for name in struct.__struct_fields__]


# -- what several of them do --------------------------------------------------------------------


def _rank(at: float) -> int:
    """Microseconds: order of arrival within lane and level."""
    return int(at * 1e6)


def _resumed(record: Record) -> bool:
    """True if the present wait goes on from an earlier one, as after a hand-back."""
    return record.wait_from != record.due_at


def _wait(new: Record, due: float, at: float, paused: float) -> None:
    """Begin a new wait that ends at ``due``."""
    later = due > at
    new.state = State.SCHEDULED if later else State.PENDING
    new.due_at = new.wait_from = due if later else at
    new.wait_base = paused
    new.rank = _rank(at)


def _close(new: Record, at: float, how: str, reason: str) -> None:
    """End the running delivery's entry in the history."""
    if new.history:
        last = copy(new.history[-1])
        last.ended_at, last.how, last.reason = at, how, reason
        new.history = [*new.history[:-1], last]


def _finish(
    task: Task,
    new: Record,
    state: State,
    at: float,
    reason: str,
    failure: Failure | None = None,
    how: str = "",
) -> Step:
    """Bring ``new`` to a final state."""
    if new.state is State.PROCESSING:
        _close(new, at, how or state.value, reason)
    new.state = state
    new.reason = reason
    new.parked = False
    new.finished_at = at
    new.failure = failure
    return _said(task, new, at, EventName.FINISHED, reason)


def _said(task: Task, new: Record, at: float, name: EventName, reason: str = "") -> Step:
    """The step that leads to ``new``, with its event."""
    new.seq += 1
    event = Event(
        task.id,
        new.seq,
        name,
        new.state,
        at,
        task.lane,
        new.attempt,
        new.delivery,
        new.worker,
        reason,
    )
    return Step(new, Said.APPLIED, (event,))


def _gone(task: Task, record: Record, at: float) -> Step:
    event = Event(
        task.id, record.seq + 1, EventName.EXPUNGED, record.state, at, task.lane, record.attempt
    )
    return Step(None, Said.APPLIED, (event,))


_Rule = Callable[[Task, Record, Any, float, float], Step]

_RULES: dict[type, _Rule] = {
    Promote: _promote,
    Lease: _lease,
    Settle: _settle,
    Lose: _lose,
    Leave: _leave,
    Cancel: _cancel,
    Replay: _replay,
    Reschedule: _reschedule,
    Purge: _purge,
    Expire: _expire,
    Expunge: _expunge,
    MarkDuplicate: _mark,
}

_OUTCOMES: dict[type[Outcome], _Rule] = {
    Failed: _failed,
    RetryAt: _retry,
    TimedOut: _timed_out,
    HandBack: _hand_back,
    Parked: _park,
}
