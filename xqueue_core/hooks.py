"""The contract of a plugin: the page every author of one reads.

A plugin watches an app, in the processes that submit and in those that work: it counts, it
traces, it tells others. It is a class that an entry point in the group ``xqueue.plugins`` names,
and that the app's settings name: ``plugins = ["prometheus"]``. ``docs/plugins.md`` builds one.

Rules for every hook:

* It is a plain function, and must not block: it runs where the thing itself happens, on the event
  loop of the client, of the handlers or of the engine, or in a handler's thread. So it may run in
  several threads at once.
* What it raises is logged with the plugin's name, and counted; the task goes on as if the hook
  were not there. Nothing a hook raises or returns can lose a task, or run it twice. One that
  blocks can: it holds up the heartbeats, and another worker takes the task.
* A hook that a plugin does not override is not called at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from xqueue_core.abc import API

if TYPE_CHECKING:
    from xqueue_core.abc import TaskView
    from xqueue_core.calls import Accepted
    from xqueue_core.settings import Settings
    from xqueue_core.task import AnyOutcome, Failure, Task

__all__ = [
    "API",
    "Ended",
    "Hooks",
    "How",
    "Place",
    "Plugin",
    "Running",
    "Site",
    "Submitting",
    "WorkerEvent",
    "WorkerLeased",
    "WorkerStarted",
    "WorkerStatus",
    "WorkerStopped",
]


class Place(StrEnum):
    """Where a plugin is opened."""

    CLIENT = "client"  # what submits: once for each event loop that does
    WORKER = "worker"  # a worker's engine: once for each worker
    CHILD = "child"  # a child process of isolated tasks


@dataclass(frozen=True, slots=True)
class Site:
    """What a plugin is opened for.

    Attributes:
        place: where.
        name: the plugin's name, as the settings have it.
        settings: the app's settings.
        types: the names of the types that the app declares, at the time of asking.
        worker: the worker's id; ``""`` in a client.
        view: asks about tasks, on the event loop that awaits :meth:`Plugin.open`; None where
            nobody can be asked. Of workers alone: a client has connected to nothing by then.
        failures: how often each hook has raised so far in this process, by plugin and hook.
    """

    place: Place
    name: str
    settings: Settings
    types: Callable[[], Collection[str]]
    worker: str = ""
    view: TaskView | None = None
    failures: Callable[[], Mapping[tuple[str, str], int]] = dict


class Plugin(ABC):
    """What an entry point in the group ``xqueue.plugins`` names: a class, made once per app and
    process.

    Making one connects to nothing. ``open`` may be called several times at once, from several
    threads: what its calls share, such as a port, the instance keeps.
    """

    #: State the version that you write for, ``api = 1``: another one is refused.
    api: ClassVar[int] = API
    #: Modules that must be importable, and the extra that brings each.
    requires: ClassVar[Mapping[str, str]] = {}
    #: Where it is opened. A child process is started often: name it only if you need it.
    places: ClassVar[Collection[Place]] = (Place.CLIENT, Place.WORKER)

    @property
    @abstractmethod
    def Settings(self) -> type[Any]:
        """The pydantic model of the plugin's own settings, filled from its section."""

    @abstractmethod
    def open(self, settings: Any, site: Site) -> AbstractAsyncContextManager[Hooks]:
        """Begin; the hooks are called until the context is left.

        Entered on an event loop of asyncio before anything is submitted or leased there, and left
        after the last of it, in a task of its own: task groups may be around the yield. Both must
        be done within 10 s; a stop of the worker breaks off opening, and leaves for closing what
        is left of the grace, or a second. What it raises when it is entered ends the start: a
        worker does not work without a plugin it was told to have. If it ends later by itself, as
        when a task group in it fails, that is logged, and its hooks are not called any more.
        """


class How(StrEnum):
    """How a delivery ended."""

    SUCCESS = "success"
    RETRY = "retry"  # the attempt failed or timed out, and another follows
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    HANDED_BACK = "handed_back"  # to run elsewhere, or later
    PARKED = "parked"  # its key is saturated
    LOST = "lost"  # another worker may have it: nothing was recorded


@dataclass(slots=True, eq=False)
class Submitting:
    """One task that is being submitted.

    Attributes:
        task: what is submitted. Read only.
        headers: add to it: what is added travels with the task. What the producer has set himself
            stands, and with more than 16384 characters none of a plugin's is added.
        answer: once it is there: whether the broker took it for a new task or a duplicate; or the
            error, if it was not accepted.
    """

    task: Task
    headers: dict[str, str] = field(default_factory=dict)
    answer: Accepted | BaseException | None = None


@dataclass(slots=True, eq=False)
class Running:
    """One attempt, while its handler runs.

    Attributes:
        headers: the task's. Read only.
        accepted_at: when the task was accepted, UTC seconds by the broker's clock.
        kind: ``coroutine``, ``thread`` or ``process``.
        carried: goes to the child process of an isolated task: what a hook puts in here in the
            worker, the same plugin's hook finds there. Texts, at most 16384 characters in all;
            of anything else nothing goes there.
        how: after the handler's end: how it ended. The broker has the last word, which
            :meth:`Hooks.ended` tells.
        failure: why, as data, if it did not succeed.
        error: the exception, if there was one.
    """

    id: str
    type: str
    lane: str
    attempt: int
    max_retry: int
    headers: Mapping[str, str]
    accepted_at: float
    worker: str
    kind: str
    place: Place = Place.WORKER
    carried: dict[str, str] = field(default_factory=dict)
    how: How | None = None
    outcome: AnyOutcome | None = None
    failure: Failure | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a delivery ended, as the broker has recorded it.

    Attributes:
        state: the task's state now (``success``, ``scheduled``, ...); ``""`` if it is lost.
        final: nothing follows, unless somebody replays it.
        queued: seconds from when the task was due to when its handler was started; 0 if it was
            not.
        ran: seconds that the handler ran; 0 if it was not started.
    """

    id: str
    type: str
    lane: str
    attempt: int
    worker: str
    how: How
    state: str
    final: bool
    started: bool
    queued: float
    ran: float
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """Something that a worker does. ``worker`` is its id."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerStarted(WorkerEvent):
    """It is about to register and to lease."""

    lanes: Sequence[str]
    types: Sequence[str]
    slots: int


@dataclass(frozen=True, slots=True)
class WorkerLeased(WorkerEvent):
    """A lease was answered: so many were wanted, and so many came, by lane."""

    wanted: int
    taken: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WorkerStatus(WorkerEvent):
    """Told once a second.

    Attributes:
        slots: how many handlers may run at once.
        running: how many handlers run, those beyond their time-out included.
        waiting: deliveries that are here and have not started.
        settling: outcomes that the broker has not recorded yet.
        permits: permits of limits that are in use here, by lane.
    """

    slots: int
    running: int
    waiting: int
    settling: int
    permits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WorkerStopped(WorkerEvent):
    """Its last outcome was recorded, and it is not registered any more."""


class Hooks:
    """What a plugin is told. Override what you want to know."""

    def submit(self, batch: Sequence[Submitting]) -> AbstractContextManager[Any] | None:
        """Tasks are submitted; of ``submit_many`` all are in one batch.

        What it returns is entered before they are sent, in the context (``contextvars``) of who
        submits, and left when each has its ``answer``, or with what the submit raises.
        """

    def run(self, run: Running) -> AbstractContextManager[Any] | None:
        """A handler is about to run: an attempt of its own, outside of all middleware.

        What it returns is entered in the handler's context (``contextvars``), so what it sets is
        seen by middleware and handler, and left there with what the handler has raised. Of an
        isolated handler that is the worker's side; its child process calls it, too, if the
        plugin's ``places`` name it.
        """

    def ended(self, end: Ended) -> None:
        """A delivery has ended, and the broker has recorded that, or has refused to."""

    def worker(self, event: WorkerEvent) -> None:
        """A worker started, leased, stopped; or its status, once a second."""
