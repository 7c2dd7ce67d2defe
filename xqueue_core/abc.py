"""The contract of a broker: the page every author of a backend reads.

A backend supplies a :class:`TaskQueue`, and if it can a :class:`TaskView`, a
:class:`Semaphore` and a :class:`Notifier`; ``xqueue_core.stored`` builds all four over two much
smaller interfaces. The rules (``P1.2`` and so on) are explained in ``docs/protocols.md``.

Rules for every method of every class here:

* Batches: answers have the request's length and order. What is wrong with one item is a
  verdict about that item. A raise means that the call failed as a whole: ``Unavailable``
  (nothing happened), ``Unknown`` (it may have happened, in part too; repeating is safe) or
  ``Refused`` (nothing happened, and repeating will not help). An ``Unknown`` that the broker
  answered itself, having failed half way, has ``answered`` set. A driver classifies errors and
  never retries: the core does.
* What only the broker knows is never answered without it: that something is durable, who holds
  a delivery or a permit, whether there is work. Out of reach, such a call raises.
* Every call ends within ``wait`` (where it has one) plus the driver's deadline of a few
  seconds, and may be cancelled at any await without harm to later calls.
* Everything durable is durable when the method returns.
* An object is used on the event loop that opened it. Calls may overlap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Capabilities,
    Did,
    Held,
    Leased,
    Lines,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.errors import Unsupported
from xqueue_core.findings import Finding
from xqueue_core.permits import Answer, KeyInfo, Permit, Renewed, Request
from xqueue_core.task import Event, Task
from xqueue_core.views import Filter, Schedule, Stats, TaskInfo, Tasks, WorkerInfo

#: Version of this contract. A plugin whose ``Backend.api`` differs is refused.
API = 1


class TaskQueue(ABC):
    """Delivers tasks. Four methods are required; the rest have honest defaults."""

    @abstractmethod
    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        """Accept tasks. Called by clients, in batches of up to some hundreds.

        NEW and UNDECIDED tasks are durable when it returns. An id that was put before, within
        the dedupe horizon, is DUPLICATE whatever its payload; so is a unique key that is held,
        and a ``slot`` at or below the last one recorded (P4.1, P4.2). A slot whose task is a
        duplicate by its unique key alone is consumed: it will not fire again. A task whose key
        has a line of parked tasks joins it undelivered (P3.4). Repeating a call is safe.
        """

    @abstractmethod
    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        """Take up to ``limit`` tasks for ``worker``, and of each lane no more than it wants.

        Called by one fetcher per worker, one call at a time. Returns at once if there is work,
        else blocks until there may be, at most ``wait`` seconds. Within a lane the highest
        priority comes first, and one in sixteen from below (P2.3); between lanes round robin.
        Each delivery gets a token above every earlier one of its task, and charges an attempt.
        Nothing is leased from a paused lane; a task that waited beyond its ``queue_timeout``
        becomes ``timeout`` instead.

        ``call`` numbers the worker's calls. Repeating the last number returns the deliveries
        it took, less those no longer current, or takes new ones if it took none; a lower
        number raises ``Refused`` (P1.2). A worker that is not registered by :meth:`extend`,
        or was declared dead, gets ``LeaseLost``.
        """

    @abstractmethod
    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        """Record how deliveries ended: state, result, follow-up and event in one step each.

        Called by one settler per worker, with everything that gathered while its last call was
        under way. LOST changes nothing (G4); repeating a call answers REPEATED.
        """

    @abstractmethod
    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        """One heartbeat: renew the worker's lease on everything it holds.

        Called every ``beat.heartbeat`` seconds with the whole held set; registers the worker
        when it is new. What the backend holds for it at or below call ``beat.answered`` and is
        not in ``held`` is handed back, uncharged (P1.2). Nothing else moves the mark that says
        when workers could last renew (P1.4).

        Should the worker die, what its last recorded heartbeat named as ``waits`` is handed back
        uncharged instead of lost (P1.1). A heartbeat that a later one overtook on its way, by
        ``beat.number``, must not bring the word back.

        Raises WorkerIdTaken where ``beat`` names another process (``host``, ``pid`` and
        ``started_at``, unless that is 0) than the worker of this id that lives.
        """

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        """Carry out commands from outside, each on its own. Called by clients and operators.

        A backend that does not know a command answers ``Did.UNSUPPORTED`` for it. An edit or a
        time that a put of this backend would not pass is ``Did.INVALID``, with the reason. A
        cancel or purge that names its ``request``, repeated, answers as it did at first, and has
        no second effect; so has a replay, which is then ``Did.REPEATED``.
        """
        return [Verdict(Did.UNSUPPORTED) for _ in commands]

    async def maintain(self, budget: float) -> float:
        """Promote what is due, expire, reclaim from the dead, trim; about ``budget`` seconds.

        Every worker calls it, whenever the returned number of seconds has passed: there is no
        leader, so any step may run twice at once. A backend that needs none of it returns a
        large number.
        """
        return 3600.0

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        """How many tasks wait for each key in these lanes, in pages (P3.4).

        Called by every worker at least every 2 s while any of its keys has a line.
        """
        return Lines([])

    async def describe(self) -> Mapping[str, Any]:
        """The broker's own view, for operators: whatever helps, as JSON types."""
        return {}


class TaskView(ABC):
    """Answers questions about tasks. Reading changes nothing."""

    @abstractmethod
    async def find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        """Each task with its history and result, or None if it is unknown or expunged."""

    @abstractmethod
    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        """A page of at most ``limit`` tasks that match, without results, in a stable order."""

    @abstractmethod
    async def stats(self) -> Stats:
        """The ledger: every lane and type that was declared or used."""

    @abstractmethod
    async def workers(self) -> Sequence[WorkerInfo]:
        """Registered workers; one that died stays listed until its tasks are reclaimed."""

    async def schedules(self) -> Sequence[Schedule]:
        """Recurring schedules that were announced or have fired."""
        return []


class Semaphore(ABC):
    """Limits how many permits of a key are held at once, cluster-wide (P3)."""

    @abstractmethod
    async def acquire(self, requests: Sequence[Request], wait: float) -> Sequence[Answer]:
        """Ask for permits; blocks at most ``wait`` seconds until one that waits is granted.

        Idempotent by the request's id: asking again returns the permit if it was granted
        since, else the place in line. Requests of one key are served first come, first served.
        A grant to a waiter that does not ask again within 2 s passes on. What was granted and
        stands above the limit when asked for again is answered with YIELD.

        Cancelled, or without an answer in time, it must not go on asking in the broker: what it
        had sent by then may take effect within 8 s, and nothing later. Workers withdraw a request
        that is over again after that time; what is granted later expires, as it is never renewed.
        """

    @abstractmethod
    async def renew(
        self,
        worker: str,
        permits: Sequence[Permit],
        watch: Sequence[str],
        lease: float,
        heartbeat: float = 0.0,
    ) -> Renewed:
        """Renew all permits of a worker. Called every half heartbeat, with or without any.

        ``heartbeat`` (seconds, a quarter of the lease at most) tells how often that is, and so
        after which silence nobody could renew (P1.4); 0 stands for min(1 s, lease / 5).

        Where another worker has waited for more than a second, the permits that are named here
        and have been ``idle`` for longer than that are the first to be told YIELD.

        A permit that expired is LOST for ever: renewing never revives one. A permit of this
        worker that is missing from ``permits`` stays held for the time being, for the answer that
        grants it may be under way. If it is missing from all renewals of a whole lease, or 10 s
        if that is longer, its worker does not know of it: it expires, if others want it. Only
        renewals without a break between them count: nothing expires by an outage or a pause.
        """

    @abstractmethod
    async def release(self, permits: Sequence[Permit]) -> None:
        """Give permits back, or leave the line. Unknown ones are ignored; repeating is safe."""

    @abstractmethod
    async def set_limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
        """Set the limit of a key to 1 or more, or remove it with None.

        ``pinned`` is the operator's value: it stands above what workers declare (``pinned``
        False) until it is removed, upon which the declared one counts again. Lowering a limit
        takes no permit away: those held drain. Effective within 1 s.
        """

    @abstractmethod
    async def inspect(self, keys: Sequence[str]) -> Sequence[KeyInfo]:
        """Limits, holders and waiters, for operators."""


class Notifier(ABC):
    """Carries events between processes. Transitions are written by the queue itself."""

    @abstractmethod
    async def publish(self, events: Sequence[Event]) -> None:
        """Publish progress. It may be lost when the broker fails; it never blocks a task."""

    @abstractmethod
    def subscribe(self, filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
        """Events that match, from now or after a cursor, as they come; ends when closed.

        No event written below a cursor already yielded is ever missed. Where events beyond the
        retention are gone, one notice without an event marks the gap.
        """


class Notice(NamedTuple):
    """One event and the cursor behind it; ``event`` is None where events are missing."""

    cursor: str
    event: Event | None


class Faces(NamedTuple):
    """What an open backend offers. A face that is None is lacking, and its ability with it."""

    queue: TaskQueue
    view: TaskView | None = None
    semaphore: Semaphore | None = None
    notifier: Notifier | None = None

    def needed(self, face: str) -> Any:
        """The named face, or ``Unsupported`` if the backend has none."""
        found = getattr(self, face)
        if found is None:
            raise Unsupported(
                f"this backend has no {face}; name another one with XQUEUE_{face.upper()}_URL"
            )
        return found


class Role(StrEnum):
    """What an open backend is used for."""

    CLIENT = "client"  # submits, asks, commands
    WORKER = "worker"  # all of it
    VIEW = "view"  # only asks


class Backend(ABC):
    """What an entry point in the group ``xqueue.backends`` names: a class, made once per app.

    Making one connects to nothing. ``open`` is called for each event loop (client, engine) and
    may be called several times at once; what they share is found by the settings.
    """

    api: ClassVar[int] = API
    #: Modules that must be importable, and the extra that brings each:
    #: ``{"redis.asyncio": "redis"}``.
    requires: ClassVar[Mapping[str, str]] = {}

    @property
    @abstractmethod
    def Settings(self) -> type[Any]:
        """The pydantic model of the backend's own settings, filled from URL and section."""

    @abstractmethod
    def capabilities(self, settings: Any) -> Capabilities:
        """What this backend promises with these settings. Connects to nothing."""

    @abstractmethod
    def open(self, settings: Any, role: Role = Role.CLIENT) -> AbstractAsyncContextManager[Faces]:
        """Connect. Raises ``Unavailable`` if the broker does not answer within a deadline.

        ``role`` says what the faces will be used for; the work a backend does by itself, such
        as owning parts of a log, is for workers. Background tasks end with the context, which
        must not hang when the broker is gone. Behind it every call of these faces that would ask
        the broker raises ``Refused``, whoever else has the same broker open.
        """

    async def examine(self, settings: Any, seconds: float) -> AsyncIterator[Finding]:
        """What can be told of this broker, for ``xqueue doctor``; by default nothing.

        Called before ``open``, in any state of the broker: not there, full, damaged, forbidden.
        Changes nothing and makes nothing. What is wrong is a finding of level ERROR, upon which
        ``open`` is not called, and never a raise. Takes about ``seconds`` at most; what was
        yielded by then is kept.
        """
        nothing: tuple[Finding, ...] = ()
        for one in nothing:
            yield one


class NotifierPlugin(ABC):
    """What an entry point in the group ``xqueue.notifiers`` names: a class, made once per app.

    It carries events where no backend does, for instance to a message bus that others listen to,
    and is named by ``notifier_url``: ``name://...`` or ``name+x://...``. The broker of ``url``
    stays what it is; of the faces, this one alone is replaced, in clients and workers. Handles
    learn by it that a task has ended, so :meth:`Notifier.subscribe` must yield transitions, too.
    """

    #: State the version that you write for, ``api = 1``: another one is refused.
    api: ClassVar[int] = API
    #: As :attr:`Backend.requires`.
    requires: ClassVar[Mapping[str, str]] = {}

    @property
    @abstractmethod
    def Settings(self) -> type[Any]:
        """The pydantic model of its own settings, filled from URL and section."""

    @abstractmethod
    def open(
        self, settings: Any, role: Role = Role.CLIENT
    ) -> AbstractAsyncContextManager[Notifier]:
        """Connect, as :meth:`Backend.open` does."""
