"""Evidence as tests of ``xqueue_core.why`` want it: one task, and what is around it."""

from __future__ import annotations

from typing import Any

from xqueue_core.calls import Beat
from xqueue_core.permits import KeyInfo
from xqueue_core.task import Attempt, State, Task
from xqueue_core.views import LaneStats, Stats, TaskInfo, TypeStats, WorkerInfo
from xqueue_core.why import Evidence, Reason, reasons

#: The broker's clock.
NOW = 1_000_000.0
LANE = "mail"


def task(id: str = "mail:1", **options: Any) -> Task:
    """A task of the lane."""
    return Task(id=id, lane=LANE, **options)


def info(
    state: State = State.PENDING, *, options: dict[str, Any] | None = None, **more: Any
) -> Any:
    """The task in this state, accepted and due ten seconds ago."""
    fields = {"accepted_at": NOW - 10, "due_at": NOW - 10, "task": task(**(options or {})), **more}
    return TaskInfo(id="mail:1", lane=LANE, state=state, **fields)


def attempt(how: str, reason: str = "", worker: str = "w~1", ended: float = NOW - 5) -> Attempt:
    """A delivery that ended so."""
    return Attempt(1, 1, worker, ended - 1, ended, how, reason)


def worker(
    name: str = "w~1",
    *,
    alive: bool = True,
    seen_ago: float = 0.1,
    quiet: bool = False,
    stop: bool = False,
    **beat: Any,
) -> WorkerInfo:
    """A worker of the lane and type, with nine of ten slots in use."""
    fields: dict[str, Any] = {"lanes": [LANE], "types": ["mail"], "slots": 10, "running": 9, **beat}
    return WorkerInfo(
        beat=Beat(worker=name, **fields), seen_ago=seen_ago, alive=alive, quiet=quiet, stop=stop
    )


def limit(key: str, most: int | None, *holders: str, **more: Any) -> KeyInfo:
    """A limit with these holders, whose permits last 10 s."""
    held = {f"r{n}": name for n, name in enumerate(holders)}
    return KeyInfo(key=key, limit=most, holders=held, expires_in=dict.fromkeys(held, 10.0), **more)


def evidence(found: TaskInfo | None, *, paused: bool = False, pending: int = 1, **more: Any) -> Any:
    """Evidence on this task: of a healthy broker with one worker, unless told otherwise."""
    row = TypeStats(accepted=pending, pending=pending)
    stats = Stats(at=NOW, lanes={LANE: LaneStats(paused=paused, types={"mail": row})})
    fields: dict[str, Any] = {
        "stats": stats,
        "workers": [worker()],
        "lane_limit": KeyInfo(key=f"lane:{LANE}"),
        **more,
    }
    return Evidence(id="mail:1", at=NOW, info=found, **fields)


def codes(found: Evidence) -> list[str]:
    """The codes of the reasons, in order."""
    return [one.code for one in reasons(found)]


def first(found: Evidence) -> Reason:
    """The most decisive reason."""
    return reasons(found)[0]
