"""Tasks and everything that is said about them, as plain data.

Every class here is a msgspec struct: cheap to make, typed, and encoded without a second
description. They are treated as immutable once they have been handed to somebody else.
All times are seconds; a name ending in ``_at`` is UTC seconds since the epoch by the
*broker's* clock, everything else is a duration.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

#: Version of the task envelope. A higher minor only adds fields; a worker that meets a higher
#: major hands the task back for a newer worker.
MAJOR = 1
MINOR = 0

#: Longest result or failure kept when a task ended in success (seconds).
RESULT_TTL = 86_400.0
#: The same for tasks that ended as ``failed`` or ``timeout`` (seconds).
FAILURE_TTL = 14 * 86_400.0
#: Losses after which a task is failed as ``worker_lost``.
MAX_LOSSES = 3
#: Tokens of settled deliveries a record remembers, so that a repeated settle is told so.
SETTLED_KEPT = 64
#: Past deliveries a record lists, newest last.
HISTORY_KEPT = 16
#: Longest error of a past delivery (characters).
BRIEF = 200


class State(StrEnum):
    """Where a task is. ``docs/states.md`` draws what may follow what."""

    SCHEDULED = "scheduled"  # due later, or waiting for a retry
    PENDING = "pending"  # may be leased, or is parked behind its key
    PROCESSING = "processing"  # leased by a worker
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMEOUT = "timeout"
    MOVING = "moving"  # reserved for moving a live system to another broker
    MOVED = "moved"  # reserved, as above

    @property
    def final(self) -> bool:
        """True if nothing but a replay, a purge or time changes this state."""
        return self in FINAL


FINAL = frozenset({State.SUCCESS, State.FAILED, State.CANCELED, State.TIMEOUT})
LIVE = frozenset({State.SCHEDULED, State.PENDING, State.PROCESSING})


class Slot(msgspec.Struct, array_like=True, frozen=True):
    """One slot of a recurring schedule: a put that carries it is accepted once.

    A slot at or below the last one recorded for ``schedule``, or of an older ``version``, is
    answered DUPLICATE. So is one whose task's unique key is held, but that one is consumed. All
    tasks of a schedule have the same hash in their token, so that a log finds them in one place.
    """

    schedule: str
    version: int
    at: float  # UTC seconds of the slot, which is also the task's ``run_at``


# No task leads to itself, so the garbage collector need not look at the thousands there may be.
class Task(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The envelope: what a producer submits. It never changes while the task lives.

    ``extra`` holds fields written by a newer minor version; they survive a round trip.
    """

    id: str  # "<type>:<token>"
    lane: str
    payload: bytes = b"{}"
    content_type: str = "application/json"
    priority: int = 0  # 0 to 9, higher first
    max_retry: int = 3  # retries after the first attempt
    queue_timeout: float | None = None  # longest wait once due
    process_timeout: float | None = 60.0  # longest run of one attempt
    delay: float = 0.0  # from acceptance, so that no client's clock matters
    run_at: float | None = None  # instead of ``delay``
    key: str | None = None  # concurrency key: at most ``key_limit`` of it run at once
    key_limit: int | None = None
    unique_key: str | None = None  # the hash in the id's token
    unique_for: float | None = None  # how long it is held; None = until the task is final
    remember: bool = True  # keep the id for the whole dedupe horizon
    headers: dict[str, str] = {}
    result_ttl: float = RESULT_TTL  # success and canceled
    failure_ttl: float = FAILURE_TTL  # failed and timeout
    slot: Slot | None = None
    major: int = MAJOR
    minor: int = MINOR
    extra: dict[str, Any] = {}

    @property
    def type(self) -> str:
        """The task's type: the part of the id before the colon."""
        return self.id.partition(":")[0]

    @property
    def readable(self) -> bool:
        """False if a newer major version wrote it, so that this process must not run it."""
        return self.major <= MAJOR


class Failure(msgspec.Struct, array_like=True, omit_defaults=True):
    """Why an attempt did not succeed, as data: nothing is imported or rebuilt from it."""

    reason: str  # "exception", "rejected", "process_timeout", "worker_lost", ...
    type: str = ""  # qualified name of the exception
    message: str = ""
    traceback: str = ""  # text, cut to a few KiB

    @property
    def brief(self) -> str:
        """Type and message in a line of at most :data:`BRIEF` characters."""
        parts = (self.type.removeprefix("builtins."), self.message[: 4 * BRIEF])
        text = " ".join(": ".join(part for part in parts if part).split())
        return text if len(text) <= BRIEF else f"{text[: BRIEF - 1]}…"


# -- outcomes: how a delivery ended --------------------------------------------------------


class Outcome(msgspec.Struct, array_like=True, tag=True, omit_defaults=True):
    """How one delivery ended."""


class Success(Outcome, tag="success"):
    """The handler returned."""

    result: bytes = b"null"
    content_type: str = "application/json"


class Failed(Outcome, tag="failed"):
    """The task failed for good: no retry."""

    failure: Failure


class RetryAt(Outcome, tag="retry"):
    """The attempt failed and another is wanted after ``delay`` seconds.

    When no attempt is left the task ends, as ``timeout`` if ``timed_out``, else ``failed``.
    """

    delay: float
    failure: Failure
    timed_out: bool = False


class TimedOut(Outcome, tag="timeout"):
    """The attempt ran longer than ``process_timeout`` and no retry is wanted."""

    failure: Failure


class HandBack(Outcome, tag="handback"):
    """The worker gives the delivery back for another to run.

    ``ran`` is True if the handler had started. ``unable`` says why this worker cannot run
    it ("type", "version", "no thread"): the task then goes to the back of its level and waits.
    """

    ran: bool = False
    reason: str = ""
    unable: str = ""


class Parked(Outcome, tag="parked"):
    """The task's key is saturated: it waits at the end of the key's line, uncharged."""


class Canceled(Outcome, tag="canceled"):
    """The handler ended because the task was canceled."""

    reason: str = ""


AnyOutcome = Success | Failed | RetryAt | TimedOut | HandBack | Parked | Canceled


# -- the record: a task's whole state ------------------------------------------------------


class Attempt(msgspec.Struct, array_like=True, omit_defaults=True):
    """One past or present delivery, as the history shows it."""

    delivery: int
    attempt: int
    worker: str
    started_at: float
    ended_at: float = 0.0
    how: str = ""  # "success", "retry", "handback", "parked", "lost", ...; "" while it runs
    reason: str = ""
    error: str = ""  # what the handler raised, in short: it outlives the task's ``failure``


class Record(msgspec.Struct, array_like=True, omit_defaults=True):
    """The envelope and everything that changes. :mod:`transitions` alone derives a new one."""

    raw: bytes  # the envelope as accepted; kept as bytes so that unknown fields survive
    state: State
    rank: int  # place within lane and level: microseconds, smaller first
    accepted_at: float
    due_at: float  # not leased before this
    wait_from: float  # ``queue_timeout`` counts from here ...
    wait_base: float = 0.0  # ... less what the lane was paused since it stood at this total
    seq: int = 0  # events of this task so far
    delivery: int = 0  # fencing token of the latest lease
    attempt: int = 0
    losses: int = 0
    worker: str = ""
    call: int = 0  # the worker's call number that leased it
    leased_at: float = 0.0
    parked: bool = False
    unable: int = 0  # consecutive hand-backs by workers that could not run it
    cancel: str = ""  # reason of a cancel requested while it runs; "" = none
    reason: str = ""  # why it is in this state
    result: bytes | None = None
    result_type: str = ""
    failure: Failure | None = None
    finished_at: float = 0.0
    of: str = ""  # the task this one turned out to duplicate
    replays: int = 0
    replay_request: str = ""  # the latest replay's request, so that repeating it is safe
    settled: list[int] = []
    history: list[Attempt] = []
    wish: str = ""  # request of the latest cancel or purge, so that repeating it is safe
    wish_told: bool = False  # that was answered by telling its worker


class EventName(StrEnum):
    """What happened to a task."""

    ACCEPTED = "accepted"
    DUE = "due"
    LEASED = "leased"
    RETRY = "retry"
    HANDED_BACK = "handed_back"
    PARKED = "parked"
    UNPARKED = "unparked"
    LOST = "lost"
    CANCEL_REQUESTED = "cancel_requested"
    FINISHED = "finished"  # success, failed, canceled or timeout: see the state
    REPLAYED = "replayed"
    RESCHEDULED = "rescheduled"
    EXPUNGED = "expunged"
    QUARANTINED = "quarantined"
    PROGRESS = "progress"  # published by the handler, not a transition


class Event(msgspec.Struct, array_like=True, omit_defaults=True):
    """One transition (or a handler's progress), numbered within its task.

    A progress event carries the seq of the transition it follows.
    """

    id: str
    seq: int
    name: EventName
    state: State
    at: float
    lane: str = ""
    attempt: int = 0
    delivery: int = 0
    worker: str = ""
    reason: str = ""
    data: dict[str, Any] = {}

    @property
    def type(self) -> str:
        """The task's type."""
        return self.id.partition(":")[0]


class Progress(msgspec.Struct, array_like=True, omit_defaults=True):
    """How far a running task is: ``percent``, or ``done`` of ``total``, with a message."""

    percent: float | None = None
    done: float | None = None
    total: float | None = None
    message: str = ""
    at: float = 0.0


def bounded(percent: float | None) -> float | None:
    """The percentage, or 0 or 100 where it is beyond that."""
    return None if percent is None else min(max(percent, 0.0), 100.0)
