"""What excuses a run above a lane's limit, or a success that is handed back; what does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from simulation.broker import WALL
from simulation.checks import outages, stale, unaware
from simulation.fate import uncounted
from simulation.outcomes import LAST, recorded
from support.history.events import AnyEvent, Ended, LimitSet, OutageBegan, OutageEnded, Started
from support.history.story import Run
from support.history.verdicts import Finding
from xqueue_core.task import Event, EventName, State, Task


def excused(
    *, out: str = "w1", lane: str = "a", before: int | None = None, since: float = 10.0
) -> bool:
    """Two run at 12 under a limit of 1 set at 11; ``out`` cannot renew until 13."""
    story: list[AnyEvent] = [
        LimitSet(at=1.0, effective=1.0, limit=before, lane="a"),
        OutageBegan(at=since, worker=out),
        LimitSet(at=11.0, effective=11.0, limit=1, lane=lane),
        OutageEnded(at=13.0, worker=out),
    ]
    runs = [Started(at=12.0, id=id, attempt=1, token=1, worker="w1", lane="a") for id in "xy"]
    return unaware(Finding("2 of lane a run at once, 1 are allowed", tuple(runs)), story)


def test_a_worker_cut_off_while_its_lane_got_its_first_limit_cannot_know_it() -> None:
    assert excused()
    assert excused(since=11.5), "nor if it was cut off before it looked"
    assert not excused(since=12.6)


@pytest.mark.parametrize("other", [{"out": "w2"}, {"lane": "b"}, {"before": 2}])
def test_another_worker_another_lane_or_another_limit_excuses_nothing(
    other: dict[str, str],
) -> None:
    assert not excused(**other)  # type: ignore[arg-type]


def beside(count: int, at: float) -> bool:
    """One that could not know of the limit still runs; so many start on a worker that could."""
    story: list[AnyEvent] = [
        LimitSet(at=1.0, effective=1.0, limit=None, lane="a"),
        OutageBegan(at=10.5, worker="w1"),
        LimitSet(at=11.0, effective=11.0, limit=1, lane="a"),
        OutageEnded(at=11.3, worker="w1"),
    ]
    runs = [Started(at=11.1, id="x", attempt=1, token=1, worker="w1", lane="a")]
    for n in range(count):
        start = Started(at=at, id=f"y{n}", attempt=1, token=n + 2, worker="w2", lane="a")
        runs.append(start)
    what = f"{len(runs)} of lane a run at once, 1 are allowed"
    return unaware(Finding(what, tuple(runs)), story)


def test_it_excuses_itself_and_no_crowd_beside_it() -> None:
    assert beside(1, 17.0)
    assert not beside(2, 17.0)
    assert not beside(9, 17.0)


def test_what_began_before_there_was_a_limit_is_allowed_for_already() -> None:
    story: list[AnyEvent] = [
        OutageBegan(at=10.0, worker="w1"),
        LimitSet(at=11.0, effective=11.0, limit=1, lane="a"),
        OutageEnded(at=13.0, worker="w1"),
    ]
    runs = [Started(at=10.5, id=id, attempt=1, token=1, worker="w1", lane="a") for id in "xy"]
    runs.append(Started(at=15.0, id="z", attempt=1, token=1, worker="w2", lane="a"))
    assert not unaware(Finding("3 of lane a run at once, 2 are allowed", tuple(runs)), story)


def complaints(*, untold: float | None, reason: str = "left", stopping: bool = True) -> list[str]:
    """A handler returned at 11, and at 20 its task is handed back; ``untold``: see Broker."""
    start = Started(at=10.0, id="a:1", attempt=1, token=7, worker="w1", lane="a")
    run = Run(start, "w1", Ended(at=11.0, id="a:1", token=7, how="returned"))
    log = [
        Event("a:1", 1, EventName.LEASED, State.PROCESSING, WALL + 10.0, delivery=7),
        Event("a:1", 2, EventName.HANDED_BACK, State.PENDING, WALL + 20.0, "a", 0, 7, "w1", reason),
    ]
    failed = {} if untold is None else {("a:1", 7): untold}
    world: Any = SimpleNamespace(
        log=log,
        left=[],
        processes=[SimpleNamespace(name="w1", stopping=stopping)],
        broker=SimpleNamespace(untold=failed),
    )
    story: Any = SimpleNamespace(runs=[run], handed_back={})
    return recorded(world, story)


def test_a_success_goes_back_if_it_could_not_be_told_up_to_the_last_heartbeat() -> None:
    assert not complaints(untold=19.9)


@pytest.mark.parametrize(
    "other",
    [{"untold": None}, {"untold": 20.0 - LAST}, {"reason": "stop"}, {"stopping": False}],
)
def test_a_success_that_goes_back_otherwise_is_lost_for_no_reason(other: dict[str, Any]) -> None:
    assert complaints(**{"untold": 19.9, **other})


@pytest.mark.parametrize("attempt", [0, 1])
def test_what_never_ran_goes_back_without_a_charge(attempt: int) -> None:
    back = EventName.HANDED_BACK
    log = [
        Event("a:1", 1, EventName.LEASED, State.PROCESSING, WALL + 10.0, "a", 1, 7),
        Event("a:1", 2, back, State.PENDING, WALL + 11.0, "a", attempt, 7, "w1", "left"),
    ]
    world: Any = SimpleNamespace(log=log)
    story: Any = SimpleNamespace(runs=[])
    assert bool(recorded(world, story)) == bool(attempt)


@pytest.mark.parametrize(
    ("name", "state"), [(EventName.LOST, State.PENDING), (EventName.FINISHED, State.FAILED)]
)
def test_nothing_is_lost_soon_after_an_outage_not_even_for_the_last_time(
    name: EventName, state: State
) -> None:
    def early(at: float) -> bool:
        event = Event("a:1", 3, name, state, WALL + at, "a", 0, 7, "w1", "worker_lost")
        broker = SimpleNamespace(acknowledged={"w1": [9.9]})
        world: Any = SimpleNamespace(log=[event], outages=[(10.0, 13.0)], broker=broker)
        return bool(outages(world))

    assert early(13.5)
    assert not early(15.1)


def starts_stale(
    lane: str, *, beat: float, woken: float = 0.0, lost: float | None = None, heard: float = 0.0
) -> bool:
    """It starts at 10.0; its worker's heartbeat was carried out at ``beat``, and answered."""
    log = []
    if lost is not None:
        log.append(Event("x:1", 1, EventName.LOST, State.PENDING, WALL + lost, lane, 0, 1))
    broker = SimpleNamespace(extended={"w1": [beat]}, heard={"w1": [(heard - 0.1, heard)]})
    worker = SimpleNamespace(name="w1", woken=[woken])
    started = Started(at=10.0, id="x:1", attempt=1, token=1, worker="w1", lane=lane)
    world: Any = SimpleNamespace(
        log=log,
        broker=broker,
        left=[],
        processes=[worker],
        story=SimpleNamespace(events=[started]),
        jobs={"x:1": SimpleNamespace(task=Task(id="x:1", lane=lane))},
    )
    return bool(stale(world))


def test_a_coroutine_looks_at_its_lease_at_its_first_step_and_a_thread_before_it() -> None:
    assert not starts_stale("a", beat=9.0)
    assert starts_stale("a", beat=8.0)
    assert starts_stale("a", beat=8.0, woken=9.995)
    assert not starts_stale("p", beat=8.0, woken=9.995)


def test_nothing_starts_that_was_lost_before_a_heartbeat() -> None:
    assert starts_stale("a", beat=9.7, lost=9.5, heard=9.8)
    assert not starts_stale("a", beat=9.7, lost=9.5, heard=9.55)  # it was sent before that
    assert not starts_stale("a", beat=9.7, lost=9.5, heard=10.1)
    assert not starts_stale("a", beat=9.7)


def uncounted_by(*, held: int = 0, troubled: bool = False) -> bool:
    """A run of a limited lane of which the semaphore knows nothing, long after it lost all."""
    gate = SimpleNamespace(limit=1, holders={})
    net = SimpleNamespace(troubled=lambda calm: troubled)
    process = SimpleNamespace(
        name="w1",
        dead=False,
        stopping=False,
        engine_strand=SimpleNamespace(held=held),
        net=net,
        running={("b:1", 1): 10.0},
    )
    world: Any = SimpleNamespace(
        broker=SimpleNamespace(gate=lambda key: gate),
        processes=[process],
        jobs={"b:1": SimpleNamespace(task=Task(id="b:1", lane="b"))},
    )
    return bool(uncounted(world, "lane:b", 11.0))


def test_what_runs_is_counted_again_unless_its_worker_stands_still_or_is_cut_off() -> None:
    assert uncounted_by()
    assert not uncounted_by(held=1)
    assert not uncounted_by(troubled=True)
