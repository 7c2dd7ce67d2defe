"""What a :class:`~xqueue_core.abc.TaskView` answers: tasks, ledgers and workers."""

from __future__ import annotations

import msgspec

from xqueue_core.calls import Beat
from xqueue_core.task import Attempt, Event, EventName, Failure, Progress, State, Task


class TaskInfo(msgspec.Struct, kw_only=True):
    """A task as a reader sees it.

    ``expires_at`` supposes that the lane is not paused until then; 0 if the task does not wait,
    has no ``queue_timeout``, or if it is not told. ``rank`` orders those that may be leased, and
    those that are parked behind one key.
    """

    id: str
    lane: str
    state: State
    task: Task | None = None  # None if quarantined
    quarantined: bool = False
    waiting_for: str = ""  # "key:<key>" when parked
    accepted_at: float = 0.0
    due_at: float = 0.0
    expires_at: float = 0.0  # when it becomes ``timeout`` if it waits on; told by ``find`` alone
    rank: int = 0  # order among those of its lane and priority, smaller first; 0 if not told
    started_at: float = 0.0
    finished_at: float = 0.0
    attempt: int = 0
    losses: int = 0
    delivery: int = 0
    worker: str = ""
    seq: int = 0
    cancel_requested: bool = False
    reason: str = ""
    result: bytes | None = None
    result_type: str = ""
    failure: Failure | None = None
    progress: Progress | None = None
    of: str = ""
    replays: int = 0
    history: list[Attempt] = []

    @property
    def type(self) -> str:
        """The task's type."""
        return self.id.partition(":")[0]


class Filter(msgspec.Struct, kw_only=True, frozen=True):
    """Which tasks or events are meant; an empty field matches everything."""

    states: frozenset[State] = frozenset()
    types: frozenset[str] = frozenset()
    lanes: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    names: frozenset[EventName] = frozenset()  # events only

    def matches(self, event: Event) -> bool:
        """True if the event passes every field of the filter."""
        return (
            (not self.ids or event.id in self.ids)
            and (not self.states or event.state in self.states)
            and (not self.lanes or event.lane in self.lanes)
            and (not self.types or event.type in self.types)
            and (not self.names or event.name in self.names)
        )


class Tasks(msgspec.Struct):
    """A page of tasks; ``next`` is None at the end.

    ``in_order``: in this listing the tasks of one lane that may be leased come in the order in
    which they would be, and those parked behind one key in the order of its line. So whoever
    wants to know what comes before a task need not read on behind it.
    """

    items: list[TaskInfo]
    next: str | None = None
    in_order: bool = False


class TypeStats(msgspec.Struct, kw_only=True):
    """The ledger of one type in one lane.

    ``scheduled``, ``pending`` and ``processing`` are how many there are now (``parked`` and
    ``quarantined`` are among them); every other number only grows and survives expunging, so
    that accepted + replayed + moved_in = live + final + moved_out.
    """

    accepted: int = 0
    duplicates: int = 0
    replayed: int = 0
    scheduled: int = 0
    pending: int = 0
    processing: int = 0
    parked: int = 0
    quarantined: int = 0
    success: int = 0
    failed: int = 0
    canceled: int = 0
    timeout: int = 0
    moved_in: int = 0
    moved_out: int = 0

    @property
    def live(self) -> int:
        """Tasks that have not ended."""
        return self.scheduled + self.pending + self.processing

    @property
    def final(self) -> int:
        """How often a task has ended."""
        return self.success + self.failed + self.canceled + self.timeout

    @property
    def conserved(self) -> bool:
        """True if the ledger balances (G13)."""
        return self.accepted + self.replayed + self.moved_in == (
            self.live + self.final + self.moved_out
        )


class LaneStats(msgspec.Struct, kw_only=True):
    """One lane: its types and whether it is paused."""

    paused: bool = False
    types: dict[str, TypeStats] = {}
    oldest_at: float | None = None  # acceptance of the oldest task that may be leased


class Stats(msgspec.Struct, kw_only=True):
    """Every lane that is known, and the broker's clock."""

    lanes: dict[str, LaneStats] = {}
    at: float = 0.0

    def total(self) -> TypeStats:
        """Sums over all lanes and types."""
        sums = dict.fromkeys(TypeStats.__struct_fields__, 0)
        for lane in self.lanes.values():
            for row in lane.types.values():
                for name in sums:
                    sums[name] += getattr(row, name)
        return TypeStats(**sums)


class WorkerInfo(msgspec.Struct, kw_only=True):
    """A registered worker: its last heartbeat, and whether that is too long ago."""

    beat: Beat
    seen_ago: float  # seconds since its last heartbeat
    alive: bool
    quiet: bool = False
    stop: bool = False

    @property
    def stopping(self) -> bool:
        """True if it was ordered to stop, or says that it drains or leaves."""
        return self.stop or self.beat.draining or self.beat.leaving


class Schedule(msgspec.Struct, kw_only=True):
    """A recurring schedule, as the broker recorded it."""

    name: str
    version: int
    last: float  # UTC seconds of the last slot, or of the first sight
    rule: str = ""  # in words that ``xqueue_core.recurring.rules.parse`` reads
    seen: float = 0.0  # when a worker last announced it or put a slot
    #: UTC seconds of the last slot that a worker put; 0: none yet; None: that is not told.
    fired: float | None = None
