"""Every situation a task can be in, and every command it can be given, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

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
)
from xqueue_core.envelope import encode_task
from xqueue_core.task import (
    AnyOutcome,
    Canceled,
    Failed,
    Failure,
    HandBack,
    Parked,
    Record,
    RetryAt,
    State,
    Success,
    Task,
    TimedOut,
)
from xqueue_core.transitions import apply

#: When the situations came about.
THEN = 1_000_000.0
#: When the commands come: 10 s later.
NOW = THEN + 10.0

#: A token that was settled, one whose worker died, one that never was.
SETTLED, LOST, NEVER = 3, 5, 99

_WHY = Failure("exception", "ValueError", "no")


def a_task(**changes: Any) -> Task:
    """A task with two attempts that waits for 100 s at most."""
    task = Task(id="type:1", lane="lane", key="key", max_retry=1, queue_timeout=100.0)
    return replace(task, **changes)


def accepted(parked: bool = False, **changes: Any) -> Record:
    """A record that has some past already."""
    record = apply(None, Accept(encode_task(a_task(**changes)), parked), THEN).record
    assert record is not None
    return replace(record, delivery=7, settled=[SETTLED])


def then(record: Record | None, *commands: Command) -> Record:
    """The record after these commands, all at :data:`THEN`."""
    for command in commands:
        record = apply(record, command, THEN).record
    assert record is not None
    return record


def settled(record: Record, outcome: AnyOutcome) -> Record:
    """The record after its present delivery ended so."""
    return then(record, Settle("type:1", record.delivery, outcome))


def _leased(**changes: Any) -> Record:
    return then(accepted(**changes), Lease("worker", 1))


def _last() -> Record:
    return then(settled(_leased(), RetryAt(0.0, _WHY)), Lease("worker", 2))


def _losing() -> Record:
    record = _leased()
    for call in (2, 3):
        record = then(record, Lose(record.delivery), Lease("worker", call))
    return record


def _replayed() -> Record:
    return then(settled(_leased(), Success()), Replay("type:1", "request"))


def _failed_again() -> Record:
    return settled(then(_replayed(), Lease("worker", 2)), Failed(_WHY))


_CANCEL = Cancel("type:1", "wish", "request")
_SHORT = {"result_ttl": 1.0, "failure_ttl": 1.0}

SITUATIONS: Mapping[str, Callable[[], Record | None]] = {
    "absent": lambda: None,
    "scheduled": lambda: accepted(delay=50.0),
    "due": lambda: accepted(delay=5.0),  # its time has come, nobody has noticed yet
    "late": lambda: accepted(delay=5.0, queue_timeout=3.0),  # as above, and waited too long
    "pending": lambda: accepted(),
    "overdue": lambda: accepted(queue_timeout=3.0),
    "replayed": _replayed,
    "parked": lambda: accepted(parked=True),
    "stuck": lambda: accepted(parked=True, queue_timeout=3.0),
    "processing": _leased,
    "last": _last,  # no attempt is left
    "losing": _losing,  # two workers have died with it
    "told": lambda: then(_leased(), _CANCEL),  # cancel requested
    "last+told": lambda: then(_last(), _CANCEL),
    "losing+told": lambda: then(_losing(), _CANCEL),
    "marked": lambda: then(_leased(), MarkDuplicate("type:2")),
    "success": lambda: settled(_leased(), Success(b"1")),
    "failed": lambda: settled(_leased(), Failed(_WHY)),
    "canceled": lambda: then(accepted(), _CANCEL),
    "told-success": lambda: settled(then(_leased(), _CANCEL), Success(b"1")),
    "revived": lambda: then(accepted(), _CANCEL, Replay("type:1", "third")),
    "timeout": lambda: settled(_leased(), TimedOut(_WHY)),
    "failed-again": _failed_again,  # after a replay
    "old-success": lambda: settled(_leased(**_SHORT), Success()),
    "old-failed": lambda: settled(_leased(**_SHORT), Failed(_WHY)),
    "moving": lambda: replace(accepted(), state=State.MOVING),
    "moved": lambda: replace(accepted(), state=State.MOVED),
}

COMMANDS: Mapping[str, Command] = {
    "Accept": Accept(encode_task(a_task())),
    "Accept (delay)": Accept(encode_task(a_task(delay=5.0))),
    "Accept (line)": Accept(encode_task(a_task()), parked=True),
    "Promote": Promote(),
    "Promote (line)": Promote(parked=True),
    "Lease": Lease("worker", 9),
    "Lose (other token)": Lose(LOST),
    "Leave": Leave(),
    "Cancel": Cancel("type:1", request="another"),
    "Cancel (same request)": Cancel("type:1", request="request"),
    "Replay": Replay("type:1", "another"),
    "Replay (delay)": Replay("type:1", "another", delay=5.0),
    "Replay (same request)": Replay("type:1", "request"),
    "Reschedule (later)": Reschedule("type:1", delay=5.0),
    "Reschedule (now)": Reschedule("type:1", run_at=NOW - 5.0),
    "Purge": Purge("type:1", request="another"),
    "Purge (same request)": Purge("type:1", request="request"),
    "Expire": Expire(),
    "Expunge": Expunge(),
    "MarkDuplicate": MarkDuplicate("type:2"),
}

OUTCOMES: Mapping[str, AnyOutcome] = {
    "Success": Success(b"2"),
    "Failed": Failed(_WHY),
    "RetryAt": RetryAt(5.0, _WHY),
    "RetryAt (now)": RetryAt(0.0, _WHY),
    "RetryAt (timed out)": RetryAt(5.0, _WHY, timed_out=True),
    "TimedOut": TimedOut(_WHY),
    "HandBack": HandBack(reason="grace"),
    "HandBack (ran)": HandBack(ran=True, reason="grace"),
    "HandBack (unable)": HandBack(unable="type"),
    "Parked": Parked(),
    "Canceled": Canceled(),
}
