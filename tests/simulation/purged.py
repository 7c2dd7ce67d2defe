"""What became of tasks that were purged: what lives is canceled, what has ended is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.broker import WALL
from support.history.events import Delivered, FinalState
from xqueue_core.task import FINAL, MAX_LOSSES, Event, EventName, State

if TYPE_CHECKING:
    from simulation.world import World


def forgotten(world: World) -> list[FinalState]:
    """How tasks had ended that were purged after that."""
    reasons = {one.id: one.reason for one in world.log if one.name is EventName.FINISHED}
    return [
        FinalState(
            at=one.at - WALL,
            id=one.id,
            state=one.state.value,
            reason=reasons[one.id],
            attempt=one.attempt,
            losses=MAX_LOSSES if reasons[one.id] == "worker_lost" else 0,
            history=_deliveries(world, one.id),
        )
        for one in world.log
        if one.name is EventName.EXPUNGED
    ]


#: Ends of a task that its handler's outcome decided, if it was being run.
_DECIDED = (State.SUCCESS, State.FAILED, State.TIMEOUT)


def _deliveries(world: World, id: str) -> list[Delivered]:
    """The deliveries of a task that were lost, and the one that decided its end, by the log."""
    mine = [one for one in world.log if one.id == id]
    leased = {one.delivery: one.at - WALL for one in mine if one.name is EventName.LEASED}
    return [
        Delivered(one.delivery, one.attempt, one.worker, how, leased[one.delivery], one.at - WALL)
        for one in mine
        if (how := _how(one)) and one.delivery in leased
    ]


def _how(event: Event) -> str:
    """How a delivery ended by this event; "" if it does not matter here, or did not end."""
    if event.name is EventName.LOST or event.reason == "worker_lost":
        return "lost"
    decided = event.name is EventName.FINISHED and event.state in _DECIDED
    return event.state.value if decided and event.reason != "queue_timeout" else ""


def undone(world: World) -> list[str]:
    """What was said to be purged had been canceled, or had ended and was forgotten (G13)."""
    ended = {(one.id, one.at - WALL) for one in world.log if one.state in FINAL}
    return [
        f"G13: {id} was said at {at - 1000:.6f} to be purged, and was not"
        for id, at in world.purged
        if not any(of == id and when <= at for of, when in ended)
    ]
