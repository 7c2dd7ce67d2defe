"""What the calls of :class:`~xqueue_core.abc.TaskQueue` carry and answer: data, no behaviour.

Verdicts about single items are data, never exceptions, so that one bad item cannot fail the
batch it travels in, and so that a broker which learns an answer late can still give it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from xqueue_core.task import AnyOutcome, Task

# -- what a backend can do -------------------------------------------------------------------


class Ability(StrEnum):
    """What a backend may lack. G1, G3, G10, G11 and G12 are not abilities: all must hold."""

    DEDUPE = "DEDUPE"
    FENCE = "FENCE"
    ATTEMPTS = "ATTEMPTS"
    LIMITS = "LIMITS"
    PRIORITY = "PRIORITY"
    DELAY = "DELAY"
    CANCEL = "CANCEL"
    VIEW = "VIEW"
    EVENTS = "EVENTS"
    RESULTS = "RESULTS"


ALL_ABILITIES = frozenset(Ability)

#: The abilities by name, so that a type checker refuses one that is misspelt.
AbilityName = Literal[
    "DEDUPE",
    "FENCE",
    "ATTEMPTS",
    "LIMITS",
    "PRIORITY",
    "DELAY",
    "CANCEL",
    "VIEW",
    "EVENTS",
    "RESULTS",
]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend promises, with numbers; the conformance kit tests both sides of each."""

    abilities: frozenset[Ability] = ALL_ABILITIES
    max_payload: int = 512 * 1024  # bytes of an encoded payload
    max_delay: float = 10 * 365 * 86_400.0  # seconds
    delay_resolution: float = 0.25  # seconds a due task may start late on an idle system
    dedupe_horizon: float = 86_400.0  # seconds
    max_in_flight: int = 1_000_000  # deliveries at one time
    failure_detection: float = 2.0  # seconds beyond the lease until a death is acted upon
    order_scope: str = "lane"  # priority and first-in order hold per "lane" or per "shard"
    shared: bool = True  # several processes may open it at once
    durable: bool = True  # tasks survive a restart of everything


# -- put ---------------------------------------------------------------------------------------


class Put(StrEnum):
    """What became of one task that was put."""

    NEW = "new"
    DUPLICATE = "duplicate"  # of ``Accepted.of``
    UNDECIDED = "undecided"  # durable; whether it is a duplicate is learned later
    UNKNOWN = "unknown"  # it may be accepted or not: put it again, under the same id
    REJECTED = "rejected"  # ``Accepted.error`` says why


class Accepted(msgspec.Struct):
    """Verdict on one put."""

    put: Put
    of: str = ""  # DUPLICATE: id of the task that stands in its place
    error: Exception | None = None  # REJECTED: a SubmitError or Unsupported


# -- lease -------------------------------------------------------------------------------------


class Want(msgspec.Struct, frozen=True):
    """Up to ``limit`` tasks of ``lane``; 0 asks only to be told when the lane has work."""

    lane: str
    limit: int


class Delivery(msgspec.Struct, kw_only=True):
    """One lease of a task. ``token`` fences it: only the latest one can settle the task."""

    task: Task
    token: int
    attempt: int  # 1 for the first attempt
    losses: int = 0
    accepted_at: float = 0.0
    due_at: float = 0.0
    leased_at: float = 0.0


class Leased(msgspec.Struct):
    """Answer to ``lease``: deliveries, and the lanes asked for with limit 0 that have work."""

    deliveries: list[Delivery] = []
    ready: list[str] = []


# -- settle and extend ---------------------------------------------------------------------------


class Settle(msgspec.Struct, array_like=True):
    """One outcome to record: ``id`` and ``token`` name the delivery."""

    id: str
    token: int
    outcome: AnyOutcome


class Settled(StrEnum):
    """What became of one settle."""

    APPLIED = "applied"
    REPEATED = "repeated"  # this token was settled before: it was ours
    LOST = "lost"  # the delivery is not current: nothing changed
    UNKNOWN = "unknown"  # it may be applied or not: settle it again


class Held(msgspec.Struct, frozen=True):
    """A delivery the worker has: queued, running, or with its settle under way.

    ``waits``: it has not started, and will not before a heartbeat without this word was
    acknowledged. Should the worker die meanwhile, the delivery is no loss (P1.1).
    """

    id: str
    token: int
    waits: bool = False


class Hold(StrEnum):
    """What a heartbeat learns about one held delivery."""

    KEPT = "kept"
    CANCELED = "canceled"  # a cancel was requested: stop it and settle
    LOST = "lost"  # not ours any more: stop it, settle nothing
    UNKNOWN = "unknown"  # this part of the broker did not answer: the lease was not renewed


class Beat(msgspec.Struct, kw_only=True):
    """One heartbeat of a worker.

    ``answered`` is the highest call number of ``lease`` whose answer the worker has. What the
    backend holds for the worker at or below it and is not in the held set is handed back.
    ``number`` grows with every heartbeat sent: one below the last recorded was overtaken on its
    way, and what it says that waits is not believed. 0 is not told.
    ``counted`` tells apart the lives of the semaphore: all that runs here is counted in the one
    of that version (``xqueue_core.worker.declaring``); 0 is not told.
    """

    worker: str  # "<name>~<uuid7>", new at each process start
    lease: float = 15.0
    heartbeat: float = 1.0
    answered: int = 0
    leaving: bool = False  # the last beat: hand back what is left and forget the worker
    host: str = ""
    pid: int = 0
    started_at: float = 0.0
    slots: int = 0
    running: int = 0
    lanes: list[str] = []
    types: list[str] = []
    overdue: list[str] = []  # ids whose code outlives its time-out and cannot be stopped
    number: int = 0
    counted: int = 0
    draining: bool = False  # it leases nothing more, and ends when what it holds has ended


class BeatReply(msgspec.Struct):
    """Answer to one heartbeat; ``held`` has the request's length and order."""

    held: list[Hold] = []
    paused: list[str] = []  # lanes the worker serves that are paused
    quiet: bool = False  # order: lease nothing more
    stop: bool = False  # order: drain and exit
    now: float = 0.0  # the broker's clock while it answered, UTC seconds; 0 if it has none


# -- control -------------------------------------------------------------------------------------


class Command(msgspec.Struct, tag=True, tag_field="command"):
    """A change asked for from outside. A backend answers Unsupported to one it does not know."""


class Cancel(Command):
    """Cancel a task, running or not.

    ``request`` names this wish: repeating it says again what it did, whatever has happened since,
    for as long as the task's id is known and no later wish has ended it. "" is not told apart.
    """

    id: str
    reason: str = ""
    request: str = ""


class Edit(msgspec.Struct, omit_defaults=True):
    """What a replay may change; None leaves a field as it was."""

    payload: bytes | None = None
    priority: int | None = None
    max_retry: int | None = None
    process_timeout: float | None = None


class Replay(Command):
    """Run a final task again. ``request`` names this wish: repeating it has no second effect.

    ``seq`` is the number of the task's last event, as who wishes it has seen: if there has been
    another since, the verdict is ``changed``, and nothing is done.
    """

    id: str
    request: str
    edit: Edit | None = None
    delay: float = 0.0
    seq: int | None = None


class Unpark(Command):
    """Let the ``count`` oldest tasks of a key's line be leased again, in front."""

    lane: str
    key: str
    count: int
    shard: str = ""


class Pause(Command):
    """Lease nothing more from the lane."""

    lane: str


class Resume(Command):
    """Undo a pause."""

    lane: str


class Purge(Command):
    """Cancel a live task (reason ``purged``) or forget a final or quarantined one.

    ``seq`` as in :class:`Replay`; of a quarantined task it is not looked at. ``request`` as in
    :class:`Cancel`.
    """

    id: str
    seq: int | None = None
    request: str = ""


class Reschedule(Command):
    """Give a task that has not started a new time: ``delay`` seconds from now, or ``run_at``."""

    id: str
    delay: float = 0.0
    run_at: float | None = None


class Declare(Command):
    """Record the lane of a type. CONFLICT while the type has live tasks in another lane."""

    type: str
    lane: str


class Locate(Command):
    """Ask for the lane of a type. APPLIED, ``of`` naming it; UNKNOWN if nobody declared the type.

    Whoever submits a type that others declare asks so before each put, and declares nothing.
    """

    type: str


class Announce(Command):
    """A worker declares a recurring schedule, or says that it still does (P4.2).

    APPLIED if this rule is in force, be it new: a rule that was never announced replaces another
    under the next version, and its slots count from ``after`` on (UTC seconds, at most now; 0 is
    now). CONFLICT, naming the rule in force, if that has replaced this one before; unless it was
    neither announced nor fired since ``unheard``: then this one is taken up again under the next
    version, and whichever came after it counts as one that was never announced, so that what was
    rolled back can be deployed again. Either way ``count`` is the version in force and ``at`` its
    last slot.
    """

    schedule: str
    rule: str
    after: float = 0.0
    unheard: float = 0.0


class Order(Command):
    """Tell a worker to lease nothing more (``quiet``), or to drain and exit (``stop``)."""

    worker: str
    quiet: bool = False
    stop: bool = False


AnyCommand = (
    Cancel
    | Replay
    | Unpark
    | Pause
    | Resume
    | Purge
    | Reschedule
    | Declare
    | Locate
    | Announce
    | Order
)


class Did(StrEnum):
    """What became of one command."""

    APPLIED = "applied"
    REQUESTED = "requested"  # a running task was told; its worker decides the end
    REPEATED = "repeated"  # this request was carried out before
    DUPLICATE = "duplicate"  # replay: another live task holds the unique key
    FINAL = "final"  # the task has ended, so there is nothing to do
    LIVE = "live"  # the task has not ended, so there is nothing to replay
    RUNNING = "running"  # the task has started, so its time cannot change
    CHANGED = "changed"  # there has been another event since the one that the command names
    UNKNOWN = "unknown"  # no such task, lane or worker
    UNDECIDED = "undecided"  # recorded; what it does is learned later, from the task's events
    CONFLICT = "conflict"  # the type has live tasks in another lane
    INVALID = "invalid"  # no put would pass what it asks for: ``reason`` says why
    UNSUPPORTED = "unsupported"  # this backend does not know the command


class Verdict(msgspec.Struct):
    """What became of one command; ``of`` names the other task or lane, ``count`` how many.

    ``at`` is the last slot of a schedule (UTC seconds).
    """

    did: Did
    of: str = ""
    count: int = 0
    reason: str = ""  # INVALID: what is wrong, and what would be right
    at: float = 0.0


# -- pages ---------------------------------------------------------------------------------------


class Line(msgspec.Struct):
    """A key's line of parked tasks."""

    lane: str
    key: str
    waiting: int
    shard: str = ""
    head_at: float = 0.0  # acceptance of the oldest, where the backend knows it


class Lines(msgspec.Struct):
    """A page of lines; ``next`` is None at the end."""

    items: list[Line]
    next: str | None = None
