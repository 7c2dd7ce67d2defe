"""Permits that are held in the name of a worker that has no use for them any more (P3.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from simulation import parts
from simulation.plan import HEARTBEAT

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.world import World

#: What an unanswered call may have been granted is taken back so long after it (seconds), and a
#: worker in no trouble for that long has nothing in doubt.
CALM = 12.0
#: A permit that goes back is under way for less (seconds).
SOON = 3 * HEARTBEAT


def kept(process: Process) -> list[str]:
    """What a worker that has just ended cleanly has not given back.

    Permits of code that was given up, and runs on, are left to expire, and so is what a call
    was granted that came behind its own withdrawal.
    """
    assert process.parts is not None
    used = parts.permits_in_use(process.parts) | parts.permits_in_doubt(process.parts)
    return [
        f"G6: {process.name} has ended, and holds {id} of {key}"
        for key, id, worker in process.world.broker.holders()
        if worker == process.name and id not in used
    ]


async def unnamed(world: World) -> list[str]:
    """What living workers hold for good and do not know of, when nothing goes wrong any more."""
    found = _unnamed(world)
    if found:
        await asyncio.sleep(SOON)
        found &= _unnamed(world)
    while found and any(one.net.troubled(CALM) for one in world.processes):
        await asyncio.sleep(SOON)
        found &= _unnamed(world)
    return [
        f"G6: {worker} does not know that it holds {id} of {key}"
        for key, id, worker in sorted(found)
    ]


def _unnamed(world: World) -> set[tuple[str, str, str]]:
    known = {one.name: one.parts for one in world.processes if not one.dead and one.parts}
    return {
        (key, id, worker)
        for key, id, worker in world.broker.holders()
        if worker in known and id not in parts.permits_held(known[worker])
    }
