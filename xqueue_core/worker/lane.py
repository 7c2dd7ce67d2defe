"""One lane that a worker serves, as its limiter sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xqueue_core.permits import lane_key

if TYPE_CHECKING:
    from xqueue_core.handlers import HandlerSpec, Kind
    from xqueue_core.permits import Request
    from xqueue_core.worker.grip import Grip
    from xqueue_core.worker.job import Job
    from xqueue_core.worker.permits import PermitDesk

#: Allowance of a lane without a limit.
UNLIMITED = 1 << 30
#: Permits asked for at first, where the lane's limit was declared by someone else.
FIRST = 8


def declared(lanes: Iterable[str], specs: Iterable[HandlerSpec]) -> dict[str, int | None]:
    """The limit that the types of each lane declare; None if they declare none."""
    limits: dict[str, int | None] = dict.fromkeys(lanes)
    for spec in specs:
        if spec.max_concurrency is not None:
            limits[spec.lane] = spec.max_concurrency
    return limits


def kinds_of(lanes: Iterable[str], specs: Iterable[HandlerSpec]) -> dict[str, set[Kind]]:
    """The kinds of each lane's handlers."""
    kinds: dict[str, set[Kind]] = {lane: set() for lane in lanes}
    for spec in specs:
        kinds[spec.lane].add(spec.kind)
    return kinds


@dataclass(slots=True)
class Lane:
    """One lane served, as the limiter sees it."""

    name: str
    declared: int | None
    scarce: tuple[Kind, ...] = ()  # the kinds of its handlers of which fewer run than slots
    version: int = 0  # 0 = no limit
    closed: bool = False  # nothing is asked for until the next renewal has told and counted
    paused: bool = False
    idle: list[Grip] = field(default_factory=list)  # permits without a task
    aside: list[Grip] = field(default_factory=list)  # permits that a renewal must name first
    used: int = 0
    work: bool = True  # it may have tasks; settled by the next empty answer
    waiting: deque[Job] = field(default_factory=deque)  # fetched ahead of the permits used here
    asked: list[Request] = field(default_factory=list)  # not answered for good
    step: int = FIRST
    saturated: bool = False  # the last answer held a DENIED
    #: A permit was of no use here until others needed it, and nothing has ended since.
    spurned: bool = False
    refusals: int = 0  # in a row, of this lane alone
    barred: float = float("-inf")  # until then it is left out of calls, for it makes them fail

    @property
    def key(self) -> str:
        """The semaphore's key."""
        return lane_key(self.name)

    @property
    def open(self) -> bool:
        """True if its tasks may be leased, under permits."""
        return bool(self.version) and not (self.closed or self.paused)

    @property
    def seeking(self) -> bool:
        """True if permits are of use."""
        return self.open and (self.work or bool(self.waiting))

    def needs(self, kind: Kind | None) -> bool:
        """True if its tasks take what there is for this kind; None for slots, which all take."""
        return kind is None or kind in self.scarce

    @property
    def hungry(self) -> int:
        """How many tasks may be fetched ahead: the permits in use here will serve them next."""
        return self.used - len(self.waiting) if self.open and self.work else 0

    def withdraw(self, permits: PermitDesk) -> None:
        """Ask for nothing more."""
        for request in self.asked:
            permits.withdraw(request)
        self.asked.clear()

    @property
    def spare(self) -> int:
        """How many permits are here, or will be after the next renewal, that serve no task."""
        return len(self.idle) + len(self.aside)

    def give_back(self, permits: PermitDesk, count: int) -> None:
        """Give so many idle permits back."""
        for _ in range(count):
            permits.release(self.idle.pop())

    def give_back_all(self, permits: PermitDesk) -> None:
        """Give back whatever serves no task."""
        self.give_back(permits, len(self.idle))
        self.give_back_aside(permits)

    def give_back_aside(self, permits: PermitDesk) -> None:
        """Give back what waits for a renewal."""
        for grip in self.aside:
            permits.release(grip)
        self.aside.clear()

    def settle(self) -> list[Grip]:
        """After a renewal that noticed no loss: the permits that may be used now."""
        known = [grip for grip in self.aside if grip.named]
        self.aside = [grip for grip in self.aside if not grip.named]
        return known
