"""A queue under comparison, and one sequence as the pure machine sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from support.plans import NOTHING, Plan
from xqueue_core.abc import TaskQueue
from xqueue_core.commands import Command, Said
from xqueue_core.stored.layout import Tombstone
from xqueue_core.task import Event, Record
from xqueue_core.transitions import apply


class Differs(AssertionError):
    """The queue and the machine do not agree."""


class Side(NamedTuple):
    """A queue, its clock, and a reader of the events since the last time."""

    queue: TaskQueue
    clock: Callable[[], float]
    advance: Callable[[float], None]
    events: Callable[[], Awaitable[Sequence[Event]]]
    horizon: float  # seconds that the id of a task to be remembered is taken
    retry: float  # seconds that any id and its tokens are remembered at least


class Model:
    """One sequence: the machine's record, and what its user remembers."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.record: Record | None = None
        self.tombstone = Tombstone(0.0)
        self.tokens: list[int] = []  # of every delivery
        self.held: tuple[str, int] | None = None  # worker and token of the last one
        self.request = 0
        self.wish = 0  # number of the last cancel or purge
        self.paused: float | None = None  # since when the lane is paused
        self.stood = 0.0  # paused before
        self.present = NOTHING
        self.expected: list[Event] = []  # told by the machine, not seen in the queue yet
        self.trace: list[Any] = []  # everything said, for a comparison of two queues

    def paused_for(self, at: float) -> float:
        return self.stood + (max(0.0, at - self.paused) if self.paused is not None else 0.0)

    def token(self, which: str) -> int:
        """A token to settle: the latest, an earlier one, or one that never was."""
        if which == "never" or not self.tokens:
            return 1
        return self.tokens[-1] if which == "current" else self.tokens[len(self.tokens) // 3]

    def give(self, command: Command, at: float) -> tuple[Said, tuple[Event, ...]]:
        """Tell the machine."""
        before = self.record
        did = apply(before, command, at, self.paused_for(at))
        self.record = did.record
        return did.verdict, did.events
