"""Does what is due start in time, where a worker was idle all the while (G8)?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from simulation.broker import WALL
from simulation.heard import CROSSES
from simulation.parts import OPTIONS
from support.history.events import LimitSet, Started
from xqueue_core.task import Event, EventName

if TYPE_CHECKING:
    from simulation.world import World

#: So late what is due may start on an idle worker (seconds).
LATE = 0.25
#: A worker must be seen to be idle from so long before the time until so long after it (seconds):
#: trouble is noticed by the next look.
AROUND = 0.4
#: Lanes of tasks without a key.
UNKEYED = frozenset({"a", "b", "p"})

Due = tuple[float, Event]  # when, and its lease


def late(world: World) -> list[str]:
    """Delayed tasks, and retries, that started late although a worker had nothing to do.

    One that is idle must fetch what is due; who has fetched it must start it if it is idle.
    Left out are lanes with limits or pauses, and what was moved, parked or handed back meanwhile.
    """
    allowed = LATE + (CROSSES if world.plan.lag else 0.0)
    starts = {(one.id, one.token): one.at for one in world.story.events if isinstance(one, Started)}
    held = _held(world)
    lanes = _plain(world)
    found = []
    for due, lease in _dues(world):
        at = lease.at - WALL
        if lease.lane not in lanes or max(at, starts.get((lease.id, lease.delivery), at)) <= (
            due + allowed
        ):
            continue
        # Was it fetched in time, then only who fetched it can have started it.
        names = [lease.worker] if at <= due + LATE else sorted(held)
        idle = [name for name in names if _idle(world, held, name, due, due + allowed, lease.id)]
        if idle:
            start = starts.get((lease.id, lease.delivery), at)
            found.append(
                f"G8: {lease.id}, due at {due - 1000.0:.6f}, was leased {at - due:.3f} s and "
                f"started {start - due:.3f} s later, and {idle[0]} was idle"
            )
    return found


def _plain(world: World) -> set[str]:
    """Lanes that have no limit, and are not paused, at any time."""
    limited = {one.lane for one in world.story.events if isinstance(one, LimitSet)}
    paused = {wish.how["lane"] for wish in world.plan.wishes if wish.name == "pause"}
    return set(UNKEYED) - limited - paused


def _dues(world: World) -> Iterator[Due]:
    """When each delayed task, or retry, was due, and its lease, if nothing came between."""
    waits: dict[str, float] = {}
    for event in world.log:
        at = event.at - WALL
        if event.name is EventName.ACCEPTED:
            waits[event.id] = at + world.jobs[event.id].task.delay
        elif event.name is EventName.RETRY:
            delay = world.broker.retries.get((event.id, event.delivery), 0.0)
            waits[event.id] = at + delay
        elif event.name is EventName.LEASED and event.id in waits:
            yield waits.pop(event.id), event
        elif event.name not in (EventName.DUE, EventName.PROGRESS):
            waits.pop(event.id, None)


def _held(world: World) -> dict[str, list[tuple[float, float, str]]]:
    """What each worker had been leased, as the broker knows: from when to when, and which task."""
    held: dict[str, list[tuple[float, float, str]]] = {}
    leases: dict[str, Event] = {}
    for event in world.log:
        if event.name in (EventName.PROGRESS, EventName.CANCEL_REQUESTED):
            continue
        lease = leases.pop(event.id, None)
        if lease is not None:
            span = lease.at - WALL, event.at - WALL, event.id
            held.setdefault(lease.worker, []).append(span)
        if event.name is EventName.LEASED:
            leases[event.id] = event
    for process in (*world.left, *world.processes):
        held.setdefault(process.name, [])
    return held


def _idle(
    world: World,
    held: dict[str, list[tuple[float, float, str]]],
    name: str,
    begin: float,
    end: float,
    but: str,
) -> bool:
    """True if this worker was healthy, and had a free slot and a free thread, all that time.

    At rest it looks to be so at each look; between two the broker's own log tells.
    """
    seen = world.hoards.able.get(name, [])
    if not any(first <= begin - AROUND and end + AROUND <= last for first, last in seen):
        return False
    mine = [
        (first, last, id)
        for first, last, id in held[name]
        if id != but and first <= end and last >= begin - AROUND
    ]
    plain = sum(world.jobs[id].task.lane == "p" for _, _, id in mine)
    return len(mine) < OPTIONS.concurrency and plain < OPTIONS.threads
