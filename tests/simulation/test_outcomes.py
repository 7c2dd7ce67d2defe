"""What excuses a handler that ran too long, or one that returned and is canceled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from simulation.broker import WALL
from simulation.checks import TERMS
from simulation.outcomes import overdue, recorded
from simulation.parts import heeds
from simulation.plan import Job
from support.history.events import (
    AnyEvent,
    Continued,
    Ended,
    HandedBack,
    OutageBegan,
    OutageEnded,
    Started,
    Stopped,
    Told,
)
from support.history.story import tell
from xqueue_core.task import Event, EventName, State, Task
from xqueue_core.worker import job


def late(told: float, *others: AnyEvent) -> bool:
    """The handler starts at 10, may run for 1 s, and learns at ``told`` that it is over."""
    task = Task(id="a:1", lane="a", process_timeout=1.0)
    world: Any = SimpleNamespace(jobs={"a:1": Job(task, 0.0, 0.0)})
    story: list[AnyEvent] = [
        Started(at=10.0, id="a:1", attempt=1, token=1, worker="w1", lane="a"),
        *others,
        Told(at=told, id="a:1", token=1),
        Ended(at=told, id="a:1", token=1, how="canceled"),
    ]
    return bool(overdue(world, tell(story, TERMS)))


def frozen(begin: float, end: float, worker: str = "w1") -> list[AnyEvent]:
    return [Stopped(at=begin, worker=worker), Continued(at=end, worker=worker)]


@pytest.mark.parametrize("begin", [10.5, 11.0003, 11.6, 12.5])
def test_a_worker_frozen_before_it_must_have_told_has_the_rest_afterwards(begin: float) -> None:
    rest = TERMS.told_within - max(0.0, begin - 11.0)
    assert not late(15.0 + rest - 0.01, *frozen(begin, 15.0))
    assert late(15.0 + rest + 0.01, *frozen(begin, 15.0))


def test_nothing_else_excuses_a_handler_that_ran_too_long() -> None:
    assert not late(12.9)
    assert late(13.1)
    assert late(15.1, *frozen(13.05, 15.0))
    assert late(15.1, *frozen(11.1, 15.0, "w2"))
    assert late(15.1, OutageBegan(at=10.5, worker="w1"), OutageEnded(at=15.0, worker="w1"))


def canceled(
    *others: AnyEvent,
    lane: str = "p",
    stopping: bool = True,
    back: bool = True,
    limit: float | None = None,
) -> bool:
    """It returned after a cancel was requested, and is recorded as canceled: is that wrong?"""
    names = [EventName.LEASED, EventName.CANCEL_REQUESTED, EventName.FINISHED]
    states = [State.PROCESSING, State.PROCESSING, State.CANCELED]
    log = [
        Event("x:1", n, name, state, WALL + 10.0 + n, lane, 1, 1, "w1")
        for n, (name, state) in enumerate(zip(names, states, strict=True))
    ]
    process = SimpleNamespace(name="w1", stopping=stopping)
    jobs = {"x:1": Job(Task(id="x:1", lane=lane, process_timeout=limit), 0.0)}
    world: Any = SimpleNamespace(log=log, left=[process], processes=[], jobs=jobs)
    story: list[AnyEvent] = [
        Started(at=10.5, id="x:1", attempt=1, token=1, worker="w1", lane=lane),
        Ended(at=11.5, id="x:1", token=1, how="returned"),
        *others,
    ]
    if back:
        story.append(HandedBack(at=11.6, id="x:1", token=1, ran=True))
    return bool(recorded(world, tell(story, TERMS)))


def test_a_plain_function_handed_back_by_a_stopping_worker_may_be_canceled() -> None:
    assert not canceled()


@pytest.mark.parametrize("other", [{"lane": "a"}, {"stopping": False}, {"back": False}])
def test_any_other_that_returned_succeeds(other: dict[str, Any]) -> None:
    assert canceled(**other)


def test_a_stop_excuses_it_at_that_time_only() -> None:
    other: dict[str, Any] = {"lane": "a", "stopping": False, "back": False}
    assert not canceled(*frozen(9.0, 11.2), **other)
    assert canceled(*frozen(1.0, 4.0), **other)


def test_what_returned_when_its_time_was_up_may_be_canceled() -> None:
    assert not canceled(lane="a", stopping=False, back=False, limit=0.9)
    assert canceled(lane="a", stopping=False, back=False, limit=1.5)


@pytest.mark.parametrize(("given_up", "wrong"), [(11.0, False), (11.6, True)])
def test_what_ends_after_a_stopping_worker_gave_it_up_may_be_handed_back(
    given_up: float, wrong: bool
) -> None:
    log = [
        Event("x:1", n, name, state, WALL + 10.0 + 2 * n, "p", 1, 1, "w1")
        for n, (name, state) in enumerate(
            [(EventName.LEASED, State.PROCESSING), (EventName.HANDED_BACK, State.PENDING)]
        )
    ]
    process = SimpleNamespace(name="w1", stopping=True)
    broker = SimpleNamespace(untold={})
    jobs = {"x:1": Job(Task(id="x:1", lane="p"), 0.0)}
    world: Any = SimpleNamespace(log=log, left=[process], processes=[], jobs=jobs, broker=broker)
    story: list[AnyEvent] = [
        Started(at=10.5, id="x:1", attempt=1, token=1, worker="w1", lane="p"),
        HandedBack(at=given_up, id="x:1", token=1, ran=True),
        Ended(at=11.5, id="x:1", token=1, how="raised"),
    ]
    assert bool(recorded(world, tell(sorted(story, key=lambda one: one.at), TERMS))) is wrong


def heeded(told: job.Told, token: int = 1) -> bool:
    delivery = SimpleNamespace(token=1)
    active = [SimpleNamespace(id="p:1", delivery=delivery, told=told)]
    parts: Any = SimpleNamespace(engine=SimpleNamespace(desk=SimpleNamespace(active=active)))
    return heeds(parts, "p:1", token)


def test_a_delay_is_asked_for_in_vain_after_the_deadline_or_of_a_lost_delivery() -> None:
    assert heeded(job.Told.NOTHING)
    assert heeded(job.Told.STOP)
    assert not heeded(job.Told.TIMEOUT)
    assert not heeded(job.Told.NOTHING, token=2)
