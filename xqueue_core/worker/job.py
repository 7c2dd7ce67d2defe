"""One delivery on its way through the worker, and what can be said to the side that runs it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xqueue_core.calls import Delivery
    from xqueue_core.handlers import HandlerSpec
    from xqueue_core.task import AnyOutcome, Progress
    from xqueue_core.worker.grip import Grip

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
    canceled: bool = False
    # the executor's
    started: float = 0.0  # by the steady clock; 0 = not yet
    deadline: float = math.inf  # by the steady clock
    entered: bool = False  # the handler's coroutine has begun
    told: Told = Told.NOTHING
    noticed: bool = False  # a plain function has seen that it was told
    ended: bool = False
    task: asyncio.Task[None] | None = None
    outcome: AnyOutcome | None = None
    progress: Progress | None = None  # latest report that was not sent yet
    progress_at: float = -math.inf
    reporting: bool = False  # the handlers' loop was asked to look at ``progress``

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
class Tell:
    """Ask one job to end; one that has not started never starts."""

    job: Job
    why: Told


@dataclass(slots=True, frozen=True)
class Recall:
    """Hand back what has not started: of one lane, one job, or everything."""

    reason: str
    lane: str | None = None
    job: Job | None = None

    def means(self, job: Job) -> bool:
        """True if this job is meant."""
        return (self.lane is None or self.lane == job.lane) and self.job in (None, job)
