"""Decides, whenever the engine has nothing to do, when time moves and when the worker is done.

The wall clock stands still while anything is due, and goes from one moment at which something
becomes due to the next: so whatever starts, starts at its very time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xqueue_core.atonce import at_once
from xqueue_core.task import LIVE
from xqueue_core.testing.broker import Notes
from xqueue_core.views import Filter, TaskInfo

if TYPE_CHECKING:
    from xqueue_core.abc import Faces
    from xqueue_core.testing.clock import VirtualClock
    from xqueue_core.worker.engine import Engine
    from xqueue_core.worker.scheduler import Scheduler

#: Seconds on the steady clock. What is live is looked up again after so long, if nobody is seen
#: to change it: the broker expires tasks by itself.
AGAIN = 0.5
#: If nothing happens for so long although tasks are due, nothing will.
PATIENCE = 60.0
#: Seconds that the store may take to look at what is due.
BUDGET = 0.1
#: Tasks in one page, and how many are named in a message.
PAGE, NAMED = 1000, 5

_LIVE = Filter(states=LIVE)


@dataclass(slots=True, frozen=True)
class Goal:
    """When a worker is done.

    Attributes:
        until: when the wall clock shows this (UTC seconds); None: when nothing is live.
        attempts: after so many attempts; None: no end.
        most: what runs more often than this runs for ever.
    """

    until: float | None = None
    attempts: int | None = None
    most: int = 10_000


class Conductor:
    """Of one worker. All of it happens on the engine's loop.

    Attributes:
        error: why the worker was stopped without having reached the goal.
    """

    def __init__(self, goal: Goal, clock: VirtualClock, faces: Faces, notes: Notes) -> None:
        self._goal = goal
        self._clock = clock
        self._faces = faces
        self._notes = notes
        self._live: list[TaskInfo] = []
        self._looked = -math.inf
        self._count = -1
        self._moved = clock.steady()  # when something happened last
        self.error: str | None = None

    def done(self, engine: Engine, scheduler: Scheduler | None) -> bool:
        """True if the worker is to end; else the wall clock may have been set."""
        self._note()
        if len(self._notes.runs) > self._goal.most:
            self.error = f"more than {self._goal.most} attempts were made, and there is no end"
            return True
        if self._notes.budget is not None and self._notes.budget <= 0:
            return not engine.desk.active
        self._look(engine)
        now = self._clock.wall()
        wake = math.inf if scheduler is None else scheduler.wake
        due = [one for one in self._live if one.due_at <= now]
        if due or wake <= now:
            return self._wait(due)
        coming = min((one.due_at for one in self._live), default=math.inf)
        if self._goal.until is None:
            if coming < math.inf:
                self._set(coming)
            return not self._live
        return self._toward(self._goal.until, min(coming, wake))

    def _toward(self, until: float, coming: float) -> bool:
        """On to what comes next, at most to the goal; True if that is reached, and all done."""
        if self._clock.wall() >= until:
            return True
        self._set(min(coming, until))
        return False

    def _wait(self, due: list[TaskInfo]) -> bool:
        """Something is due: it will run, if it can."""
        if self._clock.steady() < self._moved + PATIENCE:
            return False
        if self._goal.until is not None:  # time passes all the same
            self._set(self._goal.until)
            return True
        named = ", ".join(map(_described, due[:NAMED]))
        more = f" and {len(due) - NAMED} more" if len(due) > NAMED else ""
        self.error = f"nothing happens any more, and these are due: {named}{more}"
        return True

    def _set(self, wall: float) -> None:
        """Set the wall clock, and have what is due by it looked at: nobody waits for it in vain."""
        if wall > self._clock.wall():
            self._clock.set(wall)
            at_once(self._faces.queue.maintain(BUDGET))
            self._looked = -math.inf

    def _note(self) -> None:
        if self._count != self._notes.count:
            self._count, self._looked = self._notes.count, -math.inf
            self._moved = self._clock.steady()

    def _look(self, engine: Engine) -> None:
        """Look up what is live and can be served."""
        if self._clock.steady() < self._looked + AGAIN:
            return
        view: Any = self._faces.view
        lanes = at_once(view.stats()).lanes
        served = {lane for lane in engine.lanes if lane not in lanes or not lanes[lane].paused}
        found: list[TaskInfo] = []
        if any(row.live for lane in lanes.values() for row in lane.types.values()):
            after: str | None = None
            while True:
                page = at_once(view.list(_LIVE, after, PAGE))
                found += page.items
                if (after := page.next) is None:
                    break
        self._live = [one for one in found if one.lane in served and one.type in engine.specs]
        self._looked = self._clock.steady()


def _described(info: TaskInfo) -> str:
    waits = f", waits for {info.waiting_for}" if info.waiting_for else ""
    return f"{info.id} ({info.state.value}{waits})"
