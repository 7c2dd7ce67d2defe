"""A history put in order: who ran what from when to when, and what was done to whom."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from support.history.events import (
    AnyEvent,
    Born,
    CancelAnswered,
    CancelAsked,
    Continued,
    DeclaredDead,
    Ended,
    FinalState,
    GivenUp,
    Gone,
    HandedBack,
    Killed,
    OutageBegan,
    OutageEnded,
    PermitsRenewed,
    Recorded,
    Renewed,
    ReplayAsked,
    Started,
    Stopped,
    Submitted,
    Told,
)


@dataclass(slots=True, frozen=True)
class Terms:
    """What the run's workers were set to, in seconds, and how exactly a machine keeps time."""

    lease: float
    heartbeat: float
    told_within: float = 2.0  # a running task learns of its cancel
    limit_within: float = 1.0  # a new limit is in effect
    paused_within: float = 2.0  # a worker starts nothing more of a paused lane
    tolerance: float = 0.02  # between two clocks, or a clock and a line written
    behind: float = 2.0  # what a worker asked for may be carried out, though it is dead by then
    waking: float = 1.0  # code of a continued process, before it learns what it missed
    permits_told: bool = False  # the history has every PermitsRenewed

    @property
    def long(self) -> float:
        """A worker cut off for less than this cannot have been declared dead."""
        return self.lease - 2 * self.heartbeat

    @property
    def heard_within(self) -> float:
        """A worker that can reach its broker hears from it.

        A heartbeat that hangs from before is given up after a fifth of the lease.
        """
        return self.heartbeat + max(self.heartbeat, self.lease / 5) + 0.2

    @property
    def settled_within(self) -> float:
        """An outcome is recorded that long after the handler's end."""
        return max(2.0, self.lease)


@dataclass(slots=True, frozen=True)
class Blow:
    """What the harness did to a worker so that it may rightly be declared dead from ``due`` on."""

    event: AnyEvent
    begin: float
    due: float
    end: float  # when it could go on; inf if never
    stopped: bool  # its clock stood still too, so its code may go on with what it believed


@dataclass(slots=True)
class Run:
    """One execution of a handler. ``until`` is when its code surely ran last; inf: no end seen."""

    start: Started
    worker: str
    end: Ended | None = None
    told: Told | None = None
    until: float = math.inf

    @property
    def id(self) -> str:
        """The task's."""
        return self.start.id


@dataclass(slots=True)
class Story:
    """Everything that decisions ask for, by task and by worker; lists are in order of time."""

    events: list[AnyEvent]
    terms: Terms
    runs: list[Run] = field(default_factory=list)
    by_task: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    submits: dict[str, list[Submitted]] = field(default_factory=lambda: defaultdict(list))
    finals: dict[str, FinalState] = field(default_factory=dict)
    replays: dict[str, list[ReplayAsked]] = field(default_factory=lambda: defaultdict(list))
    recorded: dict[str, list[Recorded]] = field(default_factory=lambda: defaultdict(list))
    asks: dict[str, list[CancelAsked]] = field(default_factory=lambda: defaultdict(list))
    cancels: dict[str, list[CancelAnswered]] = field(default_factory=lambda: defaultdict(list))
    handed_back: dict[tuple[str, int], HandedBack] = field(default_factory=dict)
    given_up: dict[tuple[str, int], GivenUp] = field(default_factory=dict)
    lines: dict[str, list[HandedBack]] = field(default_factory=lambda: defaultdict(list))
    blows: dict[str, list[Blow]] = field(default_factory=lambda: defaultdict(list))
    #: When the broker was out of whose reach, or who stood still (True); "" is everybody.
    cuts: dict[str, list[tuple[float, float, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    #: When the system said that this worker lost this task.
    losses: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    #: When each worker's heartbeats were sent and acknowledged, as far as they are told.
    heard: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    #: When each worker started something last, and when it renewed anything last.
    lasted: dict[str, tuple[float, float]] = field(default_factory=dict)
    permits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _names: dict[int, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))

    # -- questions -----------------------------------------------------------------------------

    def era(self, id: str, at: float) -> int:
        """How often the task had been replayed by then."""
        return sum(one.at <= at for one in self.replays[id])

    def sleepwalk(self, run: Run) -> Blow | None:
        """The stop that lies between the worker's last look at its lease and this start."""
        return next(
            (
                one
                for one in self.blows.get(run.worker, ())
                if one.stopped and one.due <= run.start.at <= one.end + self.terms.waking
            ),
            None,
        )

    def dying(self, blow: Blow, at: float) -> bool:
        """True if the blow explains a death then: it is noticed a while after the blow's end."""
        terms = self.terms
        latest = self.out_until(blow.end) + terms.lease + terms.settled_within
        return blow.due - terms.tolerance <= at <= latest

    def out_until(self, at: float, worker: str = "", within: float = 0.0) -> float:
        """The end of what cuts this worker off at this moment, or the moment itself.

        What begins ``within`` so many seconds counts too, as it may not have been told before:
        unless it had been free for so long that a heartbeat must have come through, or did. A stop
        after that moves the moment by its length: what its engine knows takes time to its handlers.
        """
        soon = min(within, max(self.terms.heard_within, self._silent(worker, at)))
        for begin, end, stopped in sorted([*self.cuts[""], *(self.cuts[worker] if worker else ())]):
            if begin <= at + soon:
                at = max(at, end)
            elif stopped and begin <= at + within:
                at += end - begin
        return at

    def _silent(self, worker: str, at: float) -> float:
        """Seconds until a heartbeat that this worker sent from then on was acknowledged."""
        heard = self.heard.get(worker)
        if not heard:
            return 0.0  # nobody tells
        return min((until for sent, until in heard if sent >= at), default=math.inf) - at

    def lapse(self, run: Run) -> float:
        """From when on a run's permit may have expired, for want of renewals; inf: it never has.

        Where renewals are not told nothing is known, so that it may have at any time: -inf.
        """
        if not self.terms.permits_told:
            return -math.inf
        renewals = self.permits.get(run.worker, [])
        first = bisect_right(renewals, run.start.at)
        at = renewals[first - 1] if first else run.start.at
        for one in renewals[first:]:
            if one - at > self.terms.lease - self.terms.tolerance:
                break
            at = one
        return at + self.terms.lease - self.terms.tolerance

    def worker_of(self, pid: int, at: float) -> str:
        """Who had this pid then. Pids are used again, so time matters."""
        names = self._names.get(pid)
        if not names:
            return f"pid {pid}"
        return names[max(0, bisect_right(names, at, key=lambda one: one[0]) - 1)][1]


def tell(events: Iterable[AnyEvent], terms: Terms) -> Story:
    """The story of these events, in whatever order they come."""
    story = Story(sorted(events, key=lambda event: event.at), terms)
    for event in story.events:
        if isinstance(event, Born | Started) and event.pid and event.worker:
            names = story._names[event.pid]
            if not names or names[-1][1] != event.worker:
                names.append((event.at, event.worker))
    for event in story.events:
        _file(story, event)
    _blows(story)
    _runs(story)
    return story


def _file(story: Story, event: AnyEvent) -> None:
    match event:
        case Submitted():
            story.submits[event.id].append(event)
        case FinalState():
            story.finals[event.id] = event
            for one in event.history:
                if one.how == "lost" and one.ended:
                    story.losses[event.id, one.worker].append(one.ended)
        case DeclaredDead():
            story.losses[event.id, event.worker].append(event.at)
        case ReplayAsked():
            story.replays[event.id].append(event)
        case Recorded():
            story.recorded[event.id].append(event)
        case CancelAsked():
            story.asks[event.id].append(event)
        case CancelAnswered():
            story.cancels[event.id].append(event)
        case HandedBack():
            if story.handed_back.setdefault((event.id, event.token), event) is event:
                story.lines[event.id].append(event)
        case Renewed():
            story.heard[event.worker].append((event.sent, event.at))
            _lasts(story, event.worker, renewed=event.at)
        case PermitsRenewed():
            story.permits[event.worker].append(event.at)
            _lasts(story, event.worker, renewed=event.at)
        case GivenUp():
            story.given_up.setdefault((event.id, event.token), event)
        case _:
            pass


def _lasts(story: Story, worker: str, *, started: float = 0.0, renewed: float = 0.0) -> None:
    """A sign of life."""
    before = story.lasted.get(worker, (0.0, 0.0))
    story.lasted[worker] = (max(before[0], started), max(before[1], renewed))


def _blows(story: Story) -> None:
    open_: dict[tuple[str, bool], Stopped | OutageBegan] = {}
    last = story.events[-1].at if story.events else 0.0
    for event in story.events:
        match event:
            case Killed():
                name = event.worker or story.worker_of(event.pid, event.sent)
                blow = Blow(event, event.sent, event.sent, math.inf, stopped=False)
                story.blows[name].append(blow)
                story.cuts[name].append((blow.begin, blow.end, False))
            case Stopped() | OutageBegan():
                name = _named(story, event)
                open_.setdefault((name, isinstance(event, Stopped)), event)
            case Continued() | OutageEnded():
                began = open_.pop((_named(story, event), isinstance(event, Continued)), None)
                if began is not None:
                    _blow(story, _named(story, event), began, event.at)
            case _:
                pass
    for (name, _), began in open_.items():
        _blow(story, name, began, max(last, began.at) + story.terms.lease)
    for blows in story.blows.values():
        blows.sort(key=lambda blow: blow.due)


def _named(story: Story, event: Stopped | Continued | OutageBegan | OutageEnded) -> str:
    """The worker meant; "" for an outage that all share."""
    if event.worker or not event.pid:
        return event.worker
    return story.worker_of(event.pid, event.at)


def _blow(story: Story, name: str, began: Stopped | OutageBegan, end: float) -> None:
    stopped = isinstance(began, Stopped)
    story.cuts[name].append((began.at, end, stopped))
    # Of an outage that all share nothing may expire: it excuses no death.
    if name and end - began.at >= story.terms.long:
        due = began.at + story.terms.long
        story.blows[name].append(Blow(began, began.at, due, end, stopped))


def _runs(story: Story) -> None:
    runs: dict[tuple[str, int], Run] = {}
    children: dict[int, Run] = {}
    for event in story.events:
        match event:
            case Started():
                worker = event.worker or story.worker_of(event.pid, event.at)
                run = Run(event, worker)
                story.runs.append(run)
                _lasts(story, worker, started=event.at)
                story.by_task[event.id].append(run)
                runs[event.id, event.token] = run
                if event.child:
                    children[event.child] = run
            case Ended() if (found := runs.get((event.id, event.token))) is not None:
                found.end = event
                found.until = min(found.until, event.at)
            case Told() if (found := runs.get((event.id, event.token))) is not None:
                found.told = found.told or event
            case Gone() if (found := children.get(event.pid)) is not None and found.end is None:
                found.until = min(found.until, event.alive)
            case _:
                pass
    for run in story.runs:
        for blow in story.blows.get(run.worker, ()):
            if isinstance(blow.event, Killed) and run.start.at <= blow.event.at:
                run.until = min(run.until, max(blow.begin, run.start.at))
