"""How an outcome is told to those who watch: plugins, and the app's ``on_error`` functions."""

from __future__ import annotations

from xqueue_core.hooks import How
from xqueue_core.task import (
    AnyOutcome,
    Canceled,
    Failed,
    Failure,
    HandBack,
    Parked,
    RetryAt,
    State,
    Success,
    TimedOut,
)
from xqueue_core.worker.job import Job

#: The state that a task has after each of them; a lost one has whatever others make of it.
STATES = {
    How.SUCCESS: State.SUCCESS,
    How.RETRY: State.SCHEDULED,
    How.FAILED: State.FAILED,
    How.TIMEOUT: State.TIMEOUT,
    How.CANCELED: State.CANCELED,
    How.HANDED_BACK: State.PENDING,
    How.PARKED: State.PENDING,
}
#: After these nothing follows.
FINAL = frozenset({How.SUCCESS, How.FAILED, How.TIMEOUT, How.CANCELED})


def how(job: Job, outcome: AnyOutcome | None) -> How:
    """How the job ended, as the state machine will have it for all that is known here."""
    if outcome is None:
        return How.LOST
    if isinstance(outcome, Success):
        return How.SUCCESS
    if job.canceled or isinstance(outcome, Canceled):
        return How.CANCELED
    if isinstance(outcome, Parked):
        return How.PARKED
    if isinstance(outcome, HandBack):
        return How.HANDED_BACK
    if isinstance(outcome, RetryAt) and retried(job):
        return How.RETRY
    timed_out = isinstance(outcome, TimedOut) or getattr(outcome, "timed_out", False)
    return How.TIMEOUT if timed_out else How.FAILED


def state(how: How, outcome: AnyOutcome | None) -> str:
    """The task's state after that; ``""`` if it is lost."""
    if how is How.HANDED_BACK and isinstance(outcome, HandBack) and outcome.unable:
        return State.SCHEDULED.value
    return STATES[how].value if how in STATES else ""


def failure(outcome: AnyOutcome | None) -> Failure | None:
    """Why it did not succeed, if it failed."""
    return outcome.failure if isinstance(outcome, Failed | RetryAt | TimedOut) else None


def retried(job: Job) -> bool:
    """True if another attempt is left."""
    return job.delivery.attempt <= job.delivery.task.max_retry and not job.last
