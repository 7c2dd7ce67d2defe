"""One delivery on its way through the worker, and what can be said to the side that runs it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextvars import Context

    from xqueue_core.calls import Delivery
    from xqueue_core.handlers import HandlerSpec
    from xqueue_core.task import AnyOutcome, Progress
    from xqueue_core.worker.grip import Grip
    from xqueue_core.worker.host import Stoppable

#: Losses from which on a task runs alone in its process.
ALONE = 2


class Told(Enum):
    """Why a job was asked to end; a later reason takes the place of an earlier one."""

    NOTHING = auto()
    TIMEOUT = auto()
    STOP = auto()  # the worker drains
    CANCEL = auto()
    LOST = auto()


class Stage(Enum):
    """Where a job is, as the engine knows it."""

    ASKING = auto()  # waits for its key's permit
    CROSSED = auto()  # with the executor, running or not
    ENDED = auto()  # its outcome is known


@dataclass(slots=True, eq=False)
class Job:
    """One delivery. Made by the engine, run by the executor; each field has one writer."""

    delivery: Delivery
    spec: HandlerSpec
    # the engine's
    permit: Grip | None = None  # of its lane
    key_permit: Grip | None = None
    stage: Stage = Stage.CROSSED
    lost: bool = False
    waits: bool = False  # has not started, and will not before a heartbeat without this word
    canceled: bool = False
    at_once: bool = False  # a retry follows without a pause, whatever the outcome says
    last: bool = False  # none follows, whatever the outcome says
    # the executor's
    started: float = 0.0  # by the steady clock; 0 = not yet
    deadline: float = math.inf  # by the steady clock
    still: float | None = None  # since when its time stands still: its handler has returned
    spared: float = 0.0  # seconds that its time stood still before
    heard: Told | None = None  # what it had been told by then
    entered: bool = False  # the handler's coroutine has begun
    recalled: str = ""  # why it is to be handed back instead of its first step
    told: Told = Told.NOTHING
    noticed: bool = False  # a plain function has seen that it was told
    against: Told | None = None  # with middleware: why what its function returned does not stand
    ended: bool = False
    over: bool = False  # its code has ended, and the app's on_error functions are called
    ran: float = 0.0  # seconds that its handler ran; told where there are plugins
    carried: dict[str, str] | None = None  # goes to its child process, for plugins
    trouble: tuple[BaseException, Context] | None = None  # for the app's on_error functions
    task: Stoppable | None = None  # its coroutine
    outcome: AnyOutcome | None = None
    progress: Progress | None = None  # latest report that was not sent yet
    progress_at: float = -math.inf
    reporting: bool = False  # the handlers' loop was asked to look at ``progress``
    # either side's
    _unclaimed: list[None] = field(default_factory=lambda: [None])

    def claim(self) -> bool:
        """True for one caller only: the executor, which then starts it, or the engine, which
        then has it handed back although the handlers' loop does not answer."""
        try:
            self._unclaimed.pop()  # atomic, whichever threads the two are in
        except IndexError:
            return False
        return True

    def rest(self, since: float) -> None:
        """Its handler has returned elsewhere, by the steady clock at ``since``: from then on its
        time stands still, and what it is told is not about the handler."""
        self.heard = self.told
        self.still = since

    @property
    def id(self) -> str:
        """The task's full id."""
        return self.delivery.task.id

    @property
    def lane(self) -> str:
        """The task's lane."""
        return self.delivery.task.lane

    @property
    def alone(self) -> bool:
        """True if it may have killed its workers, so that nothing may run beside it."""
        return self.delivery.losses >= ALONE


@dataclass(slots=True, frozen=True)
class Ran:
    """That a job ran long, and when, by the steady clock."""

    id: str
    started: float
    ended: float


@dataclass(slots=True, frozen=True)
class Tell:
    """Ask one job to end; one that has not started never starts."""

    job: Job
    why: Told


@dataclass(slots=True, frozen=True)
class Resize:
    """Run so many jobs at once from now on. ``seen`` is called when the loop has come to it."""

    slots: int
    seen: Callable[[], None] | None = None


@dataclass(slots=True, frozen=True)
class Recall:
    """Hand back what has not started: of one lane, one job, or everything."""

    reason: str
    lane: str | None = None
    job: Job | None = None

    def means(self, job: Job) -> bool:
        """True if this job is meant."""
        return (self.lane is None or self.lane == job.lane) and self.job in (None, job)
