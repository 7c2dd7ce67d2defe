"""Permits that lie unused in one worker while another, which could use them, waits for them.

Nothing is exceeded by that, so that no other check sees it: only throughput is lost. Looked at
are snapshots, between two moments, of all workers at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from simulation import parts
from simulation.broker import WALL
from simulation.net import DEADLINE
from simulation.plan import HEARTBEAT, LEASE
from xqueue_core.stored.gate import PATIENCE, Gate
from xqueue_core.task import State
from xqueue_core.views import TaskInfo

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.world import World

T = TypeVar("T")

#: Seconds between two looks.
EVERY = 0.25
#: For which a worker may hold what it does not use: until the longest waiter makes it yield, the
#: next renewal tells it so, and the permit is back; or until a call that was to bring a task has
#: brought none, and one more has said so.
BOUND = PATIENCE + HEARTBEAT + DEADLINE
#: A worker that cannot reach the queue may hope to for so long after its last heartbeat: from
#: then on it could start nothing under a permit (seconds).
HOPES = LEASE
#: A worker that was in trouble so lately, or has just become free, takes nothing yet (seconds).
CALM = 1.0
#: What is not seen again for so long is over (seconds): who gives a permit back because it was
#: told to, and stands in line for the next, hoards on.
GAP = 2.0


class Hoards:
    """Adds up, for each worker and key, how long it has kept others from what it did not use."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._looked = world.loop.now
        self._view: Any = world.broker.faces(world.random).view
        self._ids: defaultdict[str, list[str]] = defaultdict(list)
        for id, job in world.jobs.items():
            self._ids[f"lane:{job.task.lane}"].append(id)
            if job.task.key:
                self._ids[f"key:{job.task.lane}:{job.task.key}"].append(id)
        self._kept: dict[tuple[str, str], tuple[float, float]] = {}  # so long, and last seen
        self._told: set[tuple[str, str]] = set()
        self._fit: dict[str, float] = {}  # since when each worker could take more
        #: The same for good: from the first look to the last in a row.
        self.able: dict[str, list[tuple[float, float]]] = {}

    def look(self) -> None:
        """One look at all workers."""
        now, before = self._world.loop.now, self._looked
        self._looked = now
        for process in self._world.processes:
            if not _able(process):
                self._fit.pop(process.name, None)
                continue
            spells = self.able.setdefault(process.name, [])
            if process.name not in self._fit:
                self._fit[process.name] = now
                spells.append((now, now))
            spells[-1] = spells[-1][0], now
        for process in self._world.processes:
            if process.dead or process.parts is None or self._excused(process, now):
                continue
            for key in parts.unused_keys(process.parts):
                if process.served.get(key, 0.0) < before and self._wanted(process, key, now):
                    self._keeps(process, key, now, now - before)

    def _excused(self, process: Process, now: float) -> bool:
        """True if it cannot give anything back, or may hope for a task."""
        beats = self._world.broker.acknowledged.get(process.name)
        hopes = beats is not None and now - beats[-1] < HOPES
        trouble = process.net.troubled(CALM) and hopes
        held = any(strand.held for strand in process.strands)
        return trouble or held or process.net.unpermitted(CALM)

    def _keeps(self, process: Process, key: str, now: float, more: float) -> None:
        place = process.name, key
        kept, last = self._kept.get(place, (0.0, now))
        # It counts from the first look, from the last use, and only what is seen again soon.
        fresh = now - last > GAP or process.served.get(key, 0.0) > last
        kept = 0.0 if fresh else kept + more * (last < now)
        self._kept[place] = kept, now
        if kept > BOUND and place not in self._told:
            self._told.add(place)
            self._world.wrong.append(
                f"hoards: {process.name} ({_state(process)}) has kept others from permits of "
                f"{key} for {kept:.2f} s by {now - 1000.0:.3f}, and used none"
            )

    def _wanted(self, process: Process, key: str, now: float) -> bool:
        """True if another worker could run something under such a permit at once."""
        others = [
            one
            for one in self._world.processes
            if one is not process
            and now - self._fit.get(one.name, now) >= CALM
            and parts.could_run(one.parts, key)
            and key not in parts.unused_keys(one.parts)
        ]
        gate = self._world.broker.gate(key) if others else None
        if gate is None or not _binds(gate, process.name):
            return False
        if key.startswith("lane:"):
            waiting = {waiter.worker for waiter in gate.waiters.values()}
            others = [one for one in others if one.name in waiting]
        return bool(others) and any(self._waiting(key, now))

    def _waiting(self, key: str, now: float) -> Iterator[bool]:
        infos: list[TaskInfo | None] = at_once(self._view.find(self._ids[key]))
        due = WALL + now
        for info in infos:
            if info is not None and info.state is State.PENDING and info.due_at < due:
                # A lane's permit is of no use to what waits for its key.
                yield bool(info.waiting_for) == key.startswith("key:")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of one that waits for nothing, as reads of a store in memory do."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("a read of the store waits")


def _able(process: Process) -> bool:
    """True if this worker may fetch and start more."""
    busy = process.dead or process.stopping or process.task is None or process.parts is None
    held = any(strand.held for strand in process.strands)
    return not (
        busy
        or held
        or process.told.quiet
        or process.net.troubled(CALM)
        or any(process.loop.now - at < CALM for at in process.woken[-1:])
        or not parts.has_room(process.parts)
    )


def _binds(gate: Gate, worker: str) -> bool:
    """True if a permit that this worker gave back would serve another."""
    mine = any(holder.worker == worker for holder in gate.holders.values())
    return mine and gate.limit is not None and len(gate.holders) == gate.limit


def _state(process: Process) -> str:
    """What may be the cause."""
    assert process.parts is not None
    causes = {
        "quiet": process.told.quiet,
        "draining": process.stopping,
        "cut off from the queue": process.net.troubled(CALM),
        **parts.occupied(process.parts),
    }
    return ", ".join(name for name, true in causes.items() if true) or "no known cause"
