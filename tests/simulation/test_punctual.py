"""What is due and starts late, though a worker was idle, is seen; what only looks so is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from simulation.broker import WALL
from simulation.bugs import BUGS
from simulation.plan import Job, Move
from simulation.punctual import late
from simulation.world import simulate
from support.history.events import AnyEvent, LimitSet, Started
from xqueue_core.task import Event, EventName, State, Task


def event(id: str, seq: int, name: EventName, at: float, **more: Any) -> Event:
    state = State.PROCESSING if name is EventName.LEASED else State.PENDING
    return Event(f"a:{id}", seq, name, state, WALL + at, "a", **more)


def found(
    *,
    leased: float = 12.0,
    started: float = 12.0,
    able: tuple[float, float] = (5.0, 20.0),
    busy: int = 0,
    between: EventName | None = None,
    by: str = "w1",
    lag: float = 0.0,
    paused: bool = False,
    limited: bool = False,
) -> bool:
    """Due at 11 by its delay of 1 s; w1 is idle, w2 is not."""
    log = [event("x", 1, EventName.ACCEPTED, 10.0)]
    if between is not None:
        log.append(event("x", 2, between, 11.5))
    for n in range(busy):
        log.append(event(f"b{n}", 1, EventName.ACCEPTED, 10.9))
        log.append(event(f"b{n}", 2, EventName.LEASED, 10.95, delivery=n + 10, worker="w1"))
        log.append(event(f"b{n}", 3, EventName.FINISHED, 11.05, delivery=n + 10, worker="w1"))
    log.append(event("x", 3, EventName.LEASED, leased, delivery=1, worker=by))
    story: list[AnyEvent] = [Started(at=started, id="a:x", attempt=1, token=1, worker=by, lane="a")]
    if limited:
        story.append(LimitSet(at=1.0, effective=1.0, limit=2, lane="a"))
    jobs = {"a:x": Job(Task(id="a:x", lane="a", delay=1.0), 10.0)}
    jobs |= {f"a:b{n}": Job(Task(id=f"a:b{n}", lane="a"), 10.0) for n in range(busy)}
    wishes = [Move(1.0, "pause", how={"lane": "a"})] if paused else []
    world: Any = SimpleNamespace(
        log=log,
        story=SimpleNamespace(events=story),
        jobs=jobs,
        plan=SimpleNamespace(wishes=wishes, lag=lag),
        broker=SimpleNamespace(retries={}),
        hoards=SimpleNamespace(able={"w1": [able]}),
        left=[],
        processes=[SimpleNamespace(name="w1"), SimpleNamespace(name="w2")],
    )
    return bool(late(world))


def test_what_starts_late_beside_an_idle_worker() -> None:
    assert found()
    assert found(by="w2"), "who was idle should have fetched it"
    assert found(leased=11.1), "it was here, and waited"
    assert found(busy=3), "there was a slot left"


@pytest.mark.parametrize(
    "other",
    [
        {"leased": 11.2, "started": 11.24},
        {"leased": 11.1, "by": "w2"},  # it was not the idle worker's to start
        {"able": (10.9, 20.0)},
        {"able": (5.0, 11.5)},
        {"busy": 4},
        {"between": EventName.PARKED},
        {"between": EventName.RESCHEDULED},
        {"leased": 11.1, "started": 11.5, "lag": 0.2},
        {"paused": True},
        {"limited": True},
    ],
)
def test_what_is_in_time_or_may_be_late(other: dict[str, Any]) -> None:
    assert not found(**other)


def test_a_worker_that_looks_for_tasks_every_now_and_then_is_found() -> None:
    lines = [
        line for seed in range(1, 10) for line in simulate(seed, bug=BUGS["sleepy"]).violations
    ]
    assert [line for line in lines if line.startswith("G8: ")]
