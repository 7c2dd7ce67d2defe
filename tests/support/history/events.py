"""What happened in a run, as told by those who did it: one struct a line, as JSON.

Handlers, workers and the harness write; :mod:`support.history.checker` reads. A simulation
hands the same structs over in a list. ``at`` is CLOCK_MONOTONIC, one clock for all processes of
a machine, or the simulation's virtual clock; seconds, like every duration.

A *worker* is named by its id (``ctx.worker``), by its process, or both; in a simulation, where
there are no processes, ``pid`` stays 0. Events that carry both tell which pid the worker has.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


class Happened(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="kind", tag=str.lower):
    """Base of all events."""

    at: float


# -- by the producer -----------------------------------------------------------------------------


class Submitted(Happened):
    """A submit ended with an answer.

    ``unknown``: it may be accepted or not. ``refused``: it is not. ``due`` is a moment before
    which the task must not start, by this clock: when the call began, plus the delay. A delay
    counts from the acceptance, some time between the beginning of the call and its answer.
    """

    id: str
    answer: Literal["ok", "duplicate", "unknown", "refused"] = "ok"
    due: float = 0.0
    delay: float = 0.0
    lane: str = ""
    key: str = ""  # the concurrency key
    priority: int = 0
    retries: int | None = None  # after the first attempt; None: not told
    queue_timeout: float | None = None
    process_timeout: float | None = None

    @property
    def ready(self) -> float:
        """From this moment on the task is surely due, if it was accepted."""
        return max(self.at + self.delay, self.due)


class CancelAsked(Happened):
    """A cancel is about to be sent."""

    id: str


class CancelAnswered(Happened):
    """The broker answered: applied (it never starts), requested (its worker is told), ..."""

    id: str
    did: str  # a value of xqueue_core.calls.Did


class ReplayAsked(Happened):
    """A replay is about to be sent: attempts count from 1 again, and starts are in order."""

    id: str


class Recorded(Happened):
    """Somebody outside saw the task in this final state: a result read, or an event."""

    id: str
    state: str


# -- by the handlers' code -----------------------------------------------------------------------


class Started(Happened):
    """First instruction of a handler."""

    id: str
    attempt: int
    token: int
    worker: str = ""
    pid: int = 0  # the worker's process; the code dies with it
    child: int = 0  # the process the code runs in, if it is isolated in one of its own
    lane: str = ""
    key: str = ""
    priority: int = 0


class Ended(Happened):
    """Last instruction of a handler, however it left: returned, raised or canceled.

    ``wait`` is the delay that it asked for before the next attempt.
    """

    id: str
    token: int
    how: Literal["returned", "raised", "canceled"]
    wait: float = 0.0


class Told(Happened):
    """The handler's code noticed that it should end: by CancelledError or ``ctx.canceled``."""

    id: str
    token: int


# -- by the worker -------------------------------------------------------------------------------


class HandedBack(Happened):
    """The worker gives a delivery back; written before the broker is told.

    ``ran`` is False if the handler was not entered.
    """

    id: str
    token: int
    ran: bool
    worker: str = ""
    pid: int = 0


class GivenUp(Happened):
    """A worker that ends settles what has run beyond its time-out, though its code runs on."""

    id: str
    token: int
    worker: str = ""


class Renewed(Happened):
    """A heartbeat was acknowledged; it was ``sent`` before. ``taken`` is the broker's own time of
    it, by the broker's clock."""

    sent: float
    taken: float = 0.0
    worker: str = ""
    pid: int = 0


class PermitsRenewed(Happened):
    """The semaphore carried out a renewal of all permits of this worker that began ``at``.

    By a harness that sees the semaphore's side, so that lost answers do not matter.
    """

    worker: str


# -- by the harness: what it did ---------------------------------------------------------------


class Born(Happened):
    """A worker, and the process it is."""

    worker: str
    pid: int = 0


class Killed(Happened):
    """SIGKILL: written when the process is known to be dead; ``sent`` is just before.

    Code that ends its own process on purpose writes this itself, just before it does.
    """

    sent: float
    pid: int = 0
    worker: str = ""


class Gone(Happened):
    """A process that ended by itself or by its parent's hand; last seen ``alive`` then."""

    pid: int
    alive: float


class Stopped(Happened):
    """SIGSTOP, written just before it is sent: nothing of the process runs until Continued."""

    pid: int = 0
    worker: str = ""


class Continued(Happened):
    """SIGCONT, written just before it is sent."""

    pid: int = 0
    worker: str = ""


class OutageBegan(Happened):
    """From about now the broker cannot be reached: by this worker, or by anybody."""

    pid: int = 0
    worker: str = ""


class OutageEnded(Happened):
    """The broker can be reached again."""

    pid: int = 0
    worker: str = ""


class LimitSet(Happened):
    """A lane's or key's limit was changed; None: it has no limit.

    ``at`` is when the call was made, ``effective`` when it was answered: until then, and for the
    second that workers have to see it, either holds. Equal times say that the first limit was
    there from the beginning.
    """

    effective: float
    limit: int | None
    lane: str = ""
    key: str = ""


class LanePaused(Happened):
    """A pause was acknowledged."""

    lane: str


class LaneResumed(Happened):
    """A resume is about to be sent."""

    lane: str


# -- by the harness: what the system says, to accuse it and never to excuse it -------------------


class DeclaredDead(Happened):
    """The system lost a delivery of this worker (its LOST event, or a task's history)."""

    worker: str
    id: str = ""


class Delivered(msgspec.Struct, array_like=True, omit_defaults=True):
    """One delivery of a task's history, as the view shows it: leased, and over; 0: not told."""

    token: int
    attempt: int
    worker: str
    how: str = ""
    began: float = 0.0
    ended: float = 0.0


class FinalState(Happened):
    """A task as the view shows it at the end of the run, final or not."""

    id: str
    state: str
    reason: str = ""
    attempt: int = 0
    losses: int = 0
    history: list[Delivered] = []


class Ledger(Happened):
    """The system's own count at the end of the run, summed over lanes and types."""

    accepted: int
    live: int
    final: int
    replayed: int = 0
    moved_in: int = 0
    moved_out: int = 0


AnyEvent: TypeAlias = (
    Submitted
    | CancelAsked
    | CancelAnswered
    | ReplayAsked
    | Recorded
    | Started
    | Ended
    | Told
    | HandedBack
    | GivenUp
    | Renewed
    | PermitsRenewed
    | Born
    | Killed
    | Gone
    | Stopped
    | Continued
    | OutageBegan
    | OutageEnded
    | LimitSet
    | LanePaused
    | LaneResumed
    | DeclaredDead
    | FinalState
    | Ledger
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: AnyEvent) -> bytes:
    """The event as one line, its end included."""
    return _encoder.encode(event) + b"\n"


def decode(line: bytes) -> AnyEvent:
    """The event of a line. Raises msgspec.DecodeError if it is none."""
    return _decoder.decode(line)
