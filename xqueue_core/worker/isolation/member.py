"""A child as the pool keeps it, and what the pool tells the handlers' side."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from xqueue_core.task import AnyOutcome
from xqueue_core.worker.isolation.verdict import End
from xqueue_core.worker.job import Job, Told


class Process(Protocol):
    """What the pool needs of a child process; see :class:`~.process.Process`."""

    def send(self, data: bytes = b"") -> None:
        """Send these bytes, as there is room."""

    def kill(self) -> None:
        """End it now."""

    def swept(self) -> bool:
        """Kill what it has started; True if nothing is left."""

    def reap(self) -> int:
        """Let go of it after its end; its exit code."""


class At(Enum):
    """What a child is doing."""

    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    PARTING = auto()  # its task has ended, and its plugins are told
    LEAVING = auto()  # its last task is done
    DYING = auto()  # it was killed
    DEAD = auto()  # it has ended; what it started may not have


@dataclass(slots=True, eq=False)
class Child:
    """One child process. ``since`` is when it came where it is now."""

    process: Process
    since: float
    at: At = At.STARTING
    ran: int = 0
    job: Job | None = None
    began: bool = False
    outcome: AnyOutcome | None = None
    why: Told = Told.NOTHING
    ready: bool = False  # it was, once
    hung_up: float | None = None  # since when its end of the wire is closed
    fault: str = ""  # what was wrong with it
    faulty: bool = False  # serving it has failed, here


@dataclass(slots=True, frozen=True)
class Came:
    """A job's handler has returned, then: what its child does from now on is not its time."""

    job: Job
    at: float


@dataclass(slots=True, frozen=True)
class Room:
    """So many more children are ready for a task, or fewer."""

    more: int


@dataclass(slots=True, frozen=True)
class Health:
    """Why no child can be started; "" if one can."""

    fault: str


@dataclass(slots=True, frozen=True)
class Gone:
    """Nobody serves the children any more; each task's end was told."""


Note = End | Came | Room | Health | Gone
