"""How the kill run measures that workers go on after their broker was out of reach."""

from __future__ import annotations

import math

import pytest

from soak.fleet import Leaver
from soak.recovery import blown
from soak.resuming import found_no_broker, resumptions
from support.history.checker import tell
from support.history.events import Born, OutageBegan, OutageEnded
from support.history.story import Story
from support.history.tale import TERMS, Tale


def gone(tale: Tale, begin: float = 2.0, end: float = 6.0) -> Story:
    """The story, with two workers and an outage that all share."""
    born = [Born(at=1.0, worker=name, pid=n) for n, name in enumerate(("w1", "w2"), 1)]
    return tell([*born, *tale.events, OutageBegan(at=begin), OutageEnded(at=end)], TERMS)


def test_every_worker_counts_from_the_end_of_the_outage() -> None:
    tale = Tale().whole("a", 1.5, 1.6).whole("b", 6.5, 6.6)
    delays = {one.worker: one.delay for one in resumptions(gone(tale))}
    assert delays == {"w1": 0.5, "w2": math.inf}


def test_who_was_struck_meanwhile_does_not_count() -> None:
    tale = Tale().whole("b", 6.5, 6.6).killed("w2", 7.0)
    assert [one.worker for one in resumptions(gone(tale))] == ["w1"]
    assert resumptions(gone(tale.stopped("w1", 1.0, 3.0))) == []


def test_recovery_counts_from_the_end_of_an_outage_that_came_meanwhile() -> None:
    tale = Tale().submitted("a").started("a", 1.5).killed("w1", 1.9)
    tale.ran("a", 8.0, 8.1, "w2", token=2).found("a")
    [kill] = blown(gone(tale))
    assert kill.delays == (2.0,)
    [kill] = blown(gone(tale, begin=8.5, end=9.0))
    assert kill.delays == pytest.approx((6.1,))


@pytest.mark.parametrize(
    ("pid", "code", "at", "right"),
    [
        (3, 69, 4.0, True),
        (3, 69, 6.5, True),
        (3, 69, 8.0, False),
        (3, 1, 4.0, False),
        (3, 2, 4.0, False),
        (1, 69, 4.0, False),
    ],
)
def test_a_worker_may_end_if_it_finds_no_broker_at_its_start(
    pid: int, code: int, at: float, right: bool
) -> None:
    assert found_no_broker(gone(Tale()), Leaver(pid, code, at)) is right
