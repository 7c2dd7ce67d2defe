"""What several rules of the state machine do: begin a wait, end a delivery, tell of it.

All of them change a record that its caller has just copied.
"""

from __future__ import annotations

from copy import copy

from xqueue_core.commands import Said, Step
from xqueue_core.task import Event, EventName, Failure, Record, State, Task

#: Longest wait for a time to come (seconds): a hundred years. Later times count as this late,
#: so that no time is too large for a store.
LONGEST_WAIT = 100 * 365 * 86_400.0


def rank(at: float) -> int:
    """Microseconds: order of arrival within lane and level."""
    return int(at * 1e6)


def resumed(record: Record) -> bool:
    """True if the present wait goes on from an earlier one, as after a hand-back."""
    return record.wait_from != record.due_at


def begin_wait(new: Record, due: float, at: float, paused: float) -> None:
    """Begin a new wait that ends at ``due``."""
    later = due > at
    new.state = State.SCHEDULED if later else State.PENDING
    new.due_at = new.wait_from = min(due, at + LONGEST_WAIT) if later else at
    new.wait_base = paused
    new.rank = rank(at)


def close_delivery(
    new: Record, at: float, how: str, reason: str, failure: Failure | None = None
) -> None:
    """End the running delivery's entry in the history."""
    if new.history:
        last = copy(new.history[-1])
        last.ended_at, last.how, last.reason = at, how, reason
        last.error = failure.brief if failure is not None else ""
        new.history = [*new.history[:-1], last]


def finish(
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
        close_delivery(new, at, how or state.value, reason, failure)
    new.state = state
    new.reason = reason
    new.parked = False
    new.finished_at = at
    new.failure = failure
    return said(task, new, at, EventName.FINISHED, reason)


def said(task: Task, new: Record, at: float, name: EventName, reason: str = "") -> Step:
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
