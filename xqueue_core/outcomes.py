"""The end of a delivery: what each outcome, and the loss of a worker, makes of a task.

A part of the state machine, see :mod:`xqueue_core.transitions`; as pure as the rest of it.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from xqueue_core.calls import Settle
from xqueue_core.commands import Lose, Said, Step
from xqueue_core.steps import begin_wait, close_delivery, finish, said
from xqueue_core.task import (
    MAX_LOSSES,
    SETTLED_KEPT,
    Canceled,
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

#: Reason of a hand-back in the stead of a worker that died.
WAITED = "the worker died while it waited"
#: Longest wait between two workers that cannot run a task (seconds).
UNABLE_CAP = 60.0


def settle(task: Task, record: Record, command: Settle, at: float, paused: float) -> Step:
    if record.state is not State.PROCESSING or command.token != record.delivery:
        known = command.token in record.settled
        return Step(record, Said.REPEATED if known else Said.LOST)
    new = copy(record)
    new.settled = [*record.settled[1 - SETTLED_KEPT :], command.token]
    outcome = command.outcome
    if isinstance(outcome, Success):
        new.result, new.result_type = outcome.result, outcome.content_type
        return finish(task, new, State.SUCCESS, at, "")
    if record.cancel or isinstance(outcome, Canceled):
        given = outcome.reason if isinstance(outcome, Canceled) else ""
        return finish(task, new, State.CANCELED, at, record.cancel or given or "worker")
    return _RULES[type(outcome)](task, new, outcome, at, paused)


def _failed(task: Task, new: Record, outcome: Failed, at: float, paused: float) -> Step:
    return finish(task, new, State.FAILED, at, outcome.failure.reason, outcome.failure)


def _timed_out(task: Task, new: Record, outcome: TimedOut, at: float, paused: float) -> Step:
    return finish(task, new, State.TIMEOUT, at, outcome.failure.reason, outcome.failure)


def _retry(task: Task, new: Record, outcome: RetryAt, at: float, paused: float) -> Step:
    if new.attempt > task.max_retry:
        state = State.TIMEOUT if outcome.timed_out else State.FAILED
        return finish(task, new, state, at, outcome.failure.reason, outcome.failure)
    close_delivery(new, at, "retry", outcome.failure.reason, outcome.failure)
    begin_wait(new, at + outcome.delay, at, paused)
    new.failure = outcome.failure
    new.unable = 0
    return said(task, new, at, EventName.RETRY, outcome.failure.reason)


def _hand_back(task: Task, new: Record, outcome: HandBack, at: float, paused: float) -> Step:
    # Work that had begun keeps its charge, except that a hand-back never ends a task.
    if not outcome.ran or new.attempt > task.max_retry:
        new.attempt -= 1
    close_delivery(new, at, "handback", outcome.unable or outcome.reason)
    new.state = State.PENDING
    if outcome.unable:
        new.due_at = at + min(UNABLE_CAP, 2.0 ** min(new.unable, 10))
        new.state = State.SCHEDULED
        new.unable += 1
    else:
        new.unable = 0
    new.reason = outcome.unable or outcome.reason
    return said(task, new, at, EventName.HANDED_BACK, new.reason)


def _park(task: Task, new: Record, outcome: Parked, at: float, paused: float) -> Step:
    new.attempt -= 1
    close_delivery(new, at, "parked", "")
    new.state = State.PENDING
    new.parked = True
    new.unable = 0
    return said(task, new, at, EventName.PARKED)


def lose(task: Task, record: Record, command: Lose, at: float, paused: float) -> Step:
    if record.state is not State.PROCESSING or command.token != record.delivery:
        return Step(record, Said.LOST)
    if command.waited:
        return _waited(task, record, at)
    new = copy(record)
    new.losses += 1
    new.attempt -= 1
    if record.cancel:
        return finish(task, new, State.CANCELED, at, record.cancel, how="lost")
    if new.losses >= MAX_LOSSES:
        failure = Failure("worker_lost", message=f"{new.losses} workers died while they held it")
        return finish(task, new, State.FAILED, at, "worker_lost", failure, how="lost")
    close_delivery(new, at, "lost", f"worker {record.worker} was declared dead")
    new.state = State.PENDING
    return said(task, new, at, EventName.LOST, "worker_lost")


def _waited(task: Task, record: Record, at: float) -> Step:
    """It cannot have killed the worker: handed back, as the worker would have done.

    The token does not count as settled: to that worker, should it be alive, it is lost.
    """
    new = copy(record)
    new.attempt -= 1
    new.unable = 0
    if record.cancel:
        return finish(task, new, State.CANCELED, at, record.cancel, how="handback")
    close_delivery(new, at, "handback", WAITED)
    new.state = State.PENDING
    new.reason = WAITED
    return said(task, new, at, EventName.HANDED_BACK, WAITED)


_RULES: dict[type[Outcome], Callable[[Task, Record, Any, float, float], Step]] = {
    Failed: _failed,
    RetryAt: _retry,
    TimedOut: _timed_out,
    HandBack: _hand_back,
    Parked: _park,
}
