"""One lane that a worker serves, as its limiter sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xqueue_core.permits import Request
    from xqueue_core.worker.grip import Grip

#: Allowance of a lane without a limit.
UNLIMITED = 1 << 30
#: Permits asked for at first, where the lane's limit was declared by someone else.
FIRST = 8


def lane_key(lane: str) -> str:
    """The semaphore's key for a lane."""
    return f"lane:{lane}"


@dataclass(slots=True)
class Lane:
    """One lane served, as the limiter sees it."""

    name: str
    declared: int | None
    version: int = 0  # 0 = no limit
    closed: bool = False  # nothing is asked for: what ran before the limit does not count yet
    idle: list[Grip] = field(default_factory=list)  # permits without a task
    used: int = 0
    work: bool = True  # it may have tasks; settled by the next empty answer
    asked: list[Request] = field(default_factory=list)  # not answered for good
    step: int = FIRST
    saturated: bool = False  # the last answer held a DENIED

    @property
    def key(self) -> str:
        """The semaphore's key."""
        return lane_key(self.name)

    @property
    def seeking(self) -> bool:
        """True if permits are of use."""
        return bool(self.version) and self.work and not self.closed
