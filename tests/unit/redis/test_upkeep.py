"""When a worker on Redis asks for upkeep, and when its heartbeats tell enough."""

from __future__ import annotations

import pytest

from xqueue_redis.upkeep import EXPECTED, LONGEST, Upkeep


class Clock:
    """Time that passes when it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def upkeep(clock: Clock) -> Upkeep:
    """Done just now; nothing is known to be due."""
    made = Upkeep(clock)
    assert made.spared() == 0.0, "it was never done"
    assert made.done(LONGEST) == pytest.approx(EXPECTED)
    return made


def test_without_heartbeats_it_is_looked_for_soon(clock: Clock, upkeep: Upkeep) -> None:
    clock.now += EXPECTED
    assert upkeep.spared() == 0.0


def test_heartbeats_that_see_nothing_put_it_off(clock: Clock, upkeep: Upkeep) -> None:
    clock.now += 1.0
    upkeep.heard(None)
    clock.now += EXPECTED - 1.0
    assert upkeep.spared() == pytest.approx(1.0)
    clock.now += 0.9
    upkeep.heard(None)
    clock.now += 0.1
    assert upkeep.spared() == pytest.approx(LONGEST - EXPECTED - 1.0)
    clock.now += LONGEST - EXPECTED - 1.0
    assert upkeep.spared() == 0.0, "a heartbeat does not see everything"


def test_what_a_heartbeat_sees_is_seen_to_in_time(clock: Clock, upkeep: Upkeep) -> None:
    clock.now += EXPECTED - 0.2
    upkeep.heard(0.3)
    upkeep.heard(5.0)
    clock.now += 0.2
    assert upkeep.spared() == pytest.approx(0.1), "until it was done"
    clock.now += 0.1
    assert upkeep.spared() == 0.0
    assert upkeep.done(0.5) == pytest.approx(0.5)


def test_who_asks_sooner_than_told_has_a_reason(clock: Clock, upkeep: Upkeep) -> None:
    clock.now += 0.5
    upkeep.heard(None)
    assert upkeep.spared() == 0.0
    clock.now += EXPECTED - 0.5 - 0.005
    assert upkeep.spared() > 0
