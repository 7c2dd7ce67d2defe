"""The number of worker processes, over loads that are simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xqueue_core.cli.fleet import DOWN, GAP, UP, Fleet
from xqueue_core.worker.pacing import Busy


class Running:
    """Processes under a fleet, one look a second; each does as much as one does."""

    def __init__(self, least: int, most: int, starting: int = 2) -> None:
        self.fleet = Fleet(least, most)
        self.least, self.most = least, most
        self._starting = starting  # seconds until a process says how busy it is
        self.ages = [100] * least
        self.leaving: list[int] = []  # seconds until each is gone
        self.now = 0.0

    def go(self, seconds: int, demand: Callable[[int], float]) -> list[int]:
        """Let time pass; how many there were that were to stay."""
        counts = []
        for second in range(seconds):
            self.now += 1
            share = demand(second) / len(self.ages)
            said = Busy(10, min(share, 1.0), share > 1.0)
            busy = [said if age >= self._starting else None for age in self.ages]
            change = self.fleet.next(self.now, busy, len(self.leaving))
            self.ages = [age + 1 for age in self.ages]
            self.leaving = [left - 1 for left in self.leaving if left > 1]
            if change > 0:
                self.ages.append(0)
            elif change < 0:
                self.ages.pop()
                self.leaving.append(5)
            assert self.least <= len(self.ages) <= len(self.ages) + len(self.leaving) <= self.most
            counts.append(len(self.ages))
        return counts


def turns(counts: Iterable[int]) -> int:
    """How often the number changed."""
    return sum(a != b for a, b in pairwise(counts))


def test_one_more_after_some_seconds_of_saturation_each() -> None:
    counts = Running(1, 8).go(60, lambda second: 100.0)
    assert counts[int(UP) - 1] == 1
    assert counts[int(UP) + 1] == 2
    assert counts[-1] == 8
    assert turns(counts) == 7


def test_enough_is_enough() -> None:
    counts = Running(1, 8).go(600, lambda second: 2.5)
    assert counts[-1] == 3
    assert turns(counts) == 2


@pytest.mark.parametrize("period", [2, 4, 10, 30, 100])
def test_a_load_that_comes_and_goes_makes_no_flapping(period: int) -> None:
    def demand(second: int) -> float:
        return 3.5 if second // period % 2 else 0.2

    running = Running(1, 8)
    running.go(200, demand)
    per_minute = turns(running.go(1200, demand)) / 20
    assert per_minute <= 2


def test_what_is_superfluous_for_long_goes_one_by_one_to_the_least() -> None:
    running = Running(2, 8)
    running.go(60, lambda second: 100.0)
    counts = running.go(1000, lambda second: 0.1)
    assert counts[int(DOWN) - 2] == 8
    assert counts[-1] == 2
    assert turns(counts) == 6
    assert all(b - a >= -1 for a, b in pairwise(counts))


def test_while_one_starts_or_is_silent_nothing_changes() -> None:
    fleet, busy = Fleet(1, 8), Busy(10, 1.0, True)
    assert [fleet.next(now, [busy, None], 0) for now in range(100)] == [0] * 100


def test_those_that_leave_count_until_they_are_gone() -> None:
    fleet, busy = Fleet(1, 3), Busy(10, 1.0, True)
    assert not any(fleet.next(now, [busy], 2) for now in range(50))
    assert any(fleet.next(50 + now, [busy], 1) for now in range(50))


def test_time_in_which_nobody_looked_counts_for_nothing() -> None:
    """The supervisor was stopped, and continued."""
    fleet, busy = Fleet(1, 3), Busy(10, 1.0, True)
    assert fleet.next(0.0, [busy], 0) == 0
    assert fleet.next(UP + GAP + 1, [busy], 0) == 0


@pytest.mark.parametrize(("least", "most"), [(0, 5), (6, 5)])
def test_bounds_must_be_bounds(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="processes from"):
        Fleet(least, most)


@given(
    st.integers(1, 4),
    st.integers(0, 5),
    st.lists(st.tuples(st.floats(0, 9), st.integers(1, 90)), max_size=12),
)
def test_bounds_hold_whatever_the_load(
    least: int, span: int, loads: list[tuple[float, int]]
) -> None:
    running = Running(least, least + span)
    for load, seconds in loads:
        running.go(seconds, lambda second, load=load: load)  # type: ignore[misc]
