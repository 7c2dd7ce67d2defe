"""Tasks of one unique key: of those put while one of them lives there is only that one (G2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xqueue_core.task import FINAL, EventName

if TYPE_CHECKING:
    from simulation.world import World


@dataclass(slots=True, frozen=True)
class Refusal:
    """A put was answered that another task stands in the place of this one."""

    id: str
    of: str
    begun: float  # when the put was first tried


def doubles(world: World) -> list[str]:
    """Every task that was accepted beside a living one of its key, or refused without one."""
    found = []
    living: dict[str, str] = {}
    ends: dict[str, float] = {}
    written = world.broker.committed()
    for event in world.log:
        key = world.jobs[event.id].task.unique_key
        if key is None:
            continue
        if event.name is EventName.ACCEPTED:
            ends[event.id] = math.inf
            if key in living:
                found.append(f"G2: {event.id} was accepted, and {living[key]} had its unique key")
            living[key] = event.id
        elif event.state in FINAL and living.get(key) == event.id:
            ends[event.id] = written[event.id, event.seq]
            del living[key]
    for one in world.refusals:
        twins = world.jobs[one.of].task.unique_key == world.jobs[one.id].task.unique_key
        if not twins or ends.get(one.of, -math.inf) < one.begun:
            found.append(f"G2: {one.id} was refused for {one.of}, which did not hold its key")
    return found
