"""Is what is leased leased in its turn?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation import legal
from simulation.broker import WALL
from simulation.plan import LANES
from xqueue_core.task import EventName

if TYPE_CHECKING:
    from simulation.world import World


#: A driver that runs in its worker looks at what waits, and others have their turn before it has
#: leased: what has come, or come back, since then it cannot know (seconds).
SINCE = 0.02


def turns(world: World) -> list[str]:
    """Of sixteen tasks leased to a worker while a higher level waits, one is lower (P2.3)."""
    found: list[str] = []
    slack = SINCE if world.plan.embedded else 0.0
    came: dict[str, float] = {}
    waiting: dict[str, dict[str, int]] = {lane: {} for lane in LANES}
    count: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], int] = {}
    log = world.log
    n = 0
    while n < len(log):
        event = log[n]
        if event.name is not EventName.LEASED:
            legal.wait(waiting, event, world.jobs)
            came[event.id] = event.at
            n += 1
            continue
        batch = [event]
        while n + len(batch) < len(log) and _same_lease(event, log[n + len(batch)]):
            batch.append(log[n + len(batch)])
        n += len(batch)
        for one in batch:
            waiting[one.lane].pop(one.id, None)
        for one in batch:
            place = one.worker, one.lane
            count[place] = count.get(place, 0) + 1
            mine = world.jobs[one.id].task.priority
            levels = waiting[one.lane].items()
            if any(level > mine and came[id] <= one.at - slack for id, level in levels):
                before = last.get(place)
                if before is not None and count[place] - before < 16:
                    found.append(
                        f"G7: {one.worker} was leased {one.id} out of turn at {one.at - WALL:.6f}"
                    )
                last[place] = count[place]
    return found


def _same_lease(one: object, other: object) -> bool:
    names = ("name", "worker", "at")
    return all(getattr(one, name) == getattr(other, name) for name in names)
