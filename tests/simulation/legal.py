"""The broker's own log, folded task by task: is every history legal?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulation.broker import WALL
from simulation.plan import Job
from support.history.events import Started
from xqueue_core.task import FINAL, MAX_LOSSES, Event, EventName, State

if TYPE_CHECKING:
    from simulation.world import World

_WAITING = (State.SCHEDULED, State.PENDING)


@dataclass(slots=True)
class Life:
    """A task so far, as its events tell."""

    state: State | None = None
    seq: int = 0
    token: int = 0
    attempt: int = 0
    losses: int = 0
    parked: bool = False
    canceled: bool = False
    not_before: float = 0.0  # the broker's wall clock
    leases: dict[int, Event] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)  # of each lease


def histories(world: World) -> list[str]:
    """Everything illegal in the log; starts are compared with it."""
    lives: dict[str, Life] = {}
    found: list[str] = []
    for event in world.log:
        if event.name is EventName.PROGRESS:
            continue
        life = lives.setdefault(event.id, Life())
        wrong = _follow(life, event, world)
        if wrong:
            at = event.at - WALL - 1000.0
            found.append(f"legal: {event.id} at {at:.6f}: {event.name} {wrong}")
    starts = (event for event in world.story.events if isinstance(event, Started))
    return found + [wrong for start in starts if (wrong := _unleased(lives, start))]


def _unleased(lives: Mapping[str, Life], start: Started) -> str:
    """What is wrong about a start, or ""."""
    life = lives.get(start.id, Life())
    lease = life.leases.get(start.token)
    if lease is None:
        return f"legal: {start.id} started under token {start.token}, never leased"
    if (lease.worker, lease.attempt) != (start.worker, start.attempt):
        return f"legal: {start.id} started as another's: {start} {lease}"
    early = life.due[start.token] - (start.at + WALL)
    return f"legal: {start.id} started {early:.6f} s early" if early > 1e-6 else ""


def _follow(life: Life, event: Event, world: World) -> str:
    """Carry the event out; what is wrong about it, or ""."""
    life.seq += 1
    if event.seq != life.seq:
        return f"has number {event.seq} instead of {life.seq}"
    wrong = _RULES[event.name](life, event)
    gone = event.name is EventName.EXPUNGED  # of no delivery
    if not wrong and event.delivery != life.token and not gone:
        wrong = f"is of token {event.delivery}, the latest is {life.token}"
    if not wrong and event.attempt != life.attempt:
        wrong = f"is of attempt {event.attempt} instead of {life.attempt}"
    if event.name is EventName.RETRY:
        life.not_before = event.at + world.broker.retries.get((event.id, event.delivery), 0.0)
    elif event.name is EventName.ACCEPTED:
        life.not_before = event.at + world.jobs[event.id].task.delay
    elif event.name in (EventName.RESCHEDULED, EventName.REPLAYED):
        life.not_before, life.parked = event.at, False
    life.state = event.state
    return wrong


def _leased(life: Life, event: Event) -> str:
    before, life.token = life.token, event.delivery
    life.attempt += 1
    life.leases[event.delivery] = event
    life.due[event.delivery] = life.not_before
    if life.state is not State.PENDING or life.parked:
        return f"while it was {life.state}{' and parked' if life.parked else ''}"
    if event.delivery <= before:
        return f"under token {event.delivery} after {before}"
    return ""


def _back(life: Life, event: Event) -> str:
    life.parked = event.name is EventName.PARKED
    life.losses += event.name is EventName.LOST
    # A hand-back of running work keeps its charge, the others give it back.
    if event.name is not EventName.HANDED_BACK or event.attempt < life.attempt:
        life.attempt -= event.name is not EventName.RETRY
    if life.canceled:
        return "although a cancel was requested"
    if life.losses >= MAX_LOSSES:
        return f"after {life.losses} losses"
    return "" if life.state is State.PROCESSING else f"while it was {life.state}"


def _finished(life: Life, event: Event) -> str:
    if event.reason == "worker_lost":
        life.losses += 1
    if life.state is State.PROCESSING and event.attempt == life.attempt - 1:
        life.attempt -= 1  # a loss, or a cancel that a loss completed, charges nothing
    if life.state in FINAL or life.state is None:
        return f"while it was {life.state}"
    if life.canceled and event.state not in (State.CANCELED, State.SUCCESS):
        return f"as {event.state}, although a cancel was requested"
    if life.state is not State.PROCESSING and event.state not in (State.CANCELED, State.TIMEOUT):
        return f"as {event.state} while it was {life.state}"
    if event.reason == "worker_lost" and life.losses != MAX_LOSSES:
        return f"after {life.losses} losses"
    return ""


def _from(*states: State | None) -> Callable[[Life, Event], str]:
    def rule(life: Life, event: Event) -> str:
        return "" if life.state in states else f"while it was {life.state}"

    return rule


def _requested(life: Life, event: Event) -> str:
    twice, life.canceled = life.canceled, True
    return "twice" if twice else _from(State.PROCESSING)(life, event)


def _unparked(life: Life, event: Event) -> str:
    parked, life.parked = life.parked, False
    return "" if parked or life.seq > 1 else "while it was not parked"


def _replayed(life: Life, event: Event) -> str:
    life.attempt = life.losses = 0
    life.canceled = life.parked = False
    return _from(*FINAL)(life, event)


_RULES: Mapping[EventName, Callable[[Life, Event], str]] = {
    EventName.ACCEPTED: _from(None),
    EventName.DUE: _from(State.SCHEDULED),
    EventName.LEASED: _leased,
    EventName.RETRY: _back,
    EventName.HANDED_BACK: _back,
    EventName.PARKED: _back,
    EventName.LOST: _back,
    EventName.UNPARKED: _unparked,
    EventName.CANCEL_REQUESTED: _requested,
    EventName.FINISHED: _finished,
    EventName.REPLAYED: _replayed,
    EventName.RESCHEDULED: _from(*_WAITING),
    EventName.EXPUNGED: _from(*FINAL),
    EventName.QUARANTINED: _from(None),
}


def wait(waiting: dict[str, dict[str, int]], event: Event, jobs: Mapping[str, Job]) -> None:
    """Keep up who waits in each lane, and at which level; keys' lines hold up who is in them."""
    task = jobs[event.id].task
    if event.state is State.PENDING and event.name is not EventName.PARKED and not task.key:
        waiting[task.lane][event.id] = task.priority
    else:
        waiting[task.lane].pop(event.id, None)
