"""The number of slots, over loads that are simulated or recorded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xqueue_core.worker.scaler import HIGH, IDLE, INTERVAL, LOW, Load, Scaler

#: What there is to do, by the look.
Demand = Callable[[int], int]


def loop(capacity: float) -> Callable[[int], float]:
    """A handlers' loop that keeps up with so many tasks: its lag grows with what is beyond."""
    return lambda used: 0.02 if used <= capacity else 0.02 + (used - capacity) * 0.06


def trace(
    scaler: Scaler, looks: int, demand: Demand, lag: Callable[[int], float], noise: float = 0.0
) -> list[int]:
    """The slots over so many looks."""
    chance = random.Random(7)
    slots = []
    for look in range(looks):
        wanted = demand(look)
        used = min(scaler.slots, wanted)
        late = lag(used) + chance.random() * noise
        slots.append(scaler.next(Load(scaler.slots, used, wanted > scaler.slots, late)))
    return slots


def turns(slots: Iterable[int]) -> int:
    """How often the slots went up after they went down, or the other way round."""
    steps = [step for step in _steps(list(slots)) if step]
    return sum((a > 0) != (b > 0) for a, b in pairwise(steps))


def _steps(slots: list[int]) -> list[int]:
    return [b - a for a, b in pairwise(slots)]


def always(n: int) -> Demand:
    """So much to do at any time."""
    return lambda look: n


def test_slots_double_while_there_is_more_to_do_and_the_loop_keeps_up() -> None:
    assert trace(Scaler(5, 50), 6, always(1000), loop(1000)) == [10, 20, 40, 50, 50, 50]


def test_slots_stay_where_there_is_not_more_to_do_than_room() -> None:
    assert set(trace(Scaler(5, 50), 100, always(5), loop(1000))) == {5}
    assert trace(Scaler(5, 50), 100, always(18), loop(1000))[-1] == 20


def test_slots_come_to_rest_where_the_loop_is_just_not_late() -> None:
    slots = trace(Scaler(1, 1000), 600, always(10_000), loop(60))
    late = slots[60:]
    assert min(late) >= 0.6 * 60
    assert max(late) <= 1.15 * 60
    assert sum(late) / len(late) > 0.85 * 60


def test_a_steady_load_makes_no_flapping() -> None:
    """Ten minutes, noise included: a cut now and then, a slow way back, nothing else."""
    slots = trace(Scaler(1, 1000), 600, always(10_000), loop(60), noise=0.05)
    assert turns(slots[60:]) <= 20
    falls = [-step for step in _steps(slots[60:]) if step < 0]
    assert len(falls) <= 10


@pytest.mark.parametrize("period", [2, 5, 10, 20])
def test_a_load_that_comes_and_goes_leaves_the_slots_alone(period: int) -> None:
    def demand(look: int) -> int:
        return 1000 if look // period % 2 == 0 else 0

    slots = trace(Scaler(5, 50), 300, demand, loop(1000))
    assert turns(slots) == 0
    assert slots[-1] == 50


def test_what_is_not_used_for_long_is_given_up_slowly() -> None:
    slots = trace(Scaler(5, 50), 400, lambda look: 1000 if look < 10 else 6, loop(1000))
    assert slots[9] == 50
    assert slots[9 + IDLE // 2] == 50
    assert slots[-1] == 8  # of which six are three quarters
    assert turns(slots) == 1


def test_one_late_look_is_no_congestion() -> None:
    scaler = Scaler(5, 50)
    for look in range(50):
        late = HIGH if look % 2 else LOW / 2
        assert scaler.next(Load(scaler.slots, scaler.slots, True, late)) >= 5
    assert scaler.slots == 50


def test_a_late_loop_is_not_blamed_on_slots_that_are_free() -> None:
    """One handler that blocks the loop: fewer slots would not help."""
    scaler = Scaler(5, 50)
    trace(scaler, 10, always(1000), loop(1000))
    assert [scaler.next(Load(50, 2, False, 5.0)) for _ in range(20)] == [50] * 20


def test_between_not_late_and_late_nothing_changes() -> None:
    scaler = Scaler(5, 50)
    middle = (LOW + HIGH) / 2
    assert [scaler.next(Load(5, 5, True, middle)) for _ in range(50)] == [5] * 50


def test_more_capacity_is_found() -> None:
    scaler = Scaler(1, 1000)
    trace(scaler, 200, always(10_000), loop(20))
    assert scaler.slots < 30
    assert trace(scaler, 200, always(10_000), loop(500))[-1] > 300


def test_spent_is_said_at_the_upper_bound_and_near_congestion() -> None:
    scaler = Scaler(5, 50)
    said = [scaler.spent]
    trace(scaler, 10, always(1000), loop(1000))
    assert [*said, scaler.spent] == [False, True]
    other = Scaler(5, 1000)
    trace(other, 100, always(10_000), loop(40))
    assert other.spent
    assert other.slots < 60


@pytest.mark.parametrize(("least", "most"), [(0, 5), (6, 5), (-1, -1)])
def test_bounds_must_be_bounds(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="slots from"):
        Scaler(least, most)


def test_equal_bounds_are_a_fixed_number() -> None:
    assert set(trace(Scaler(7, 7), 100, always(1000), loop(1))) == {7}


@given(
    st.integers(1, 50),
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.floats(0, 10)), max_size=200),
)
def test_slots_never_leave_their_bounds(
    least: int, span: int, looks: list[tuple[int, bool, float]]
) -> None:
    scaler = Scaler(least, least + span)
    for used, more, lag in looks:
        before = scaler.slots
        slots = scaler.next(Load(before, min(used, before), more, lag))
        assert least <= slots <= least + span
        assert slots <= 2 * before
        assert slots >= min(before, max(least, int(0.7 * before))) or used <= before / 2


def test_a_look_is_long_beside_the_lag_it_measures() -> None:
    assert INTERVAL >= 4 * HIGH > LOW > 0
