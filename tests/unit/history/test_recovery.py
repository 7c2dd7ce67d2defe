"""How the kill run measures recovery."""

from __future__ import annotations

import pytest

from soak.recovery import FREE, QUIET, blown, late, silences, summary
from support.history import events as e
from support.history.checker import tell
from support.history.tale import TERMS, Tale


def struck() -> Tale:
    """Six runs on w1 at its kill at 3: each has another fate. One had ended before."""
    tale = Tale().limit(9, lane="narrow").killed("w1", 3.0)
    for id, again, lane in (("soon", 5.0, "l"), ("late", 9.0, "l"), ("limited", 5.0, "narrow")):
        tale.submitted(id, lane=lane).started(id, 2.0, lane=lane)
        tale.ran(id, again, again + 0.1, "w2", token=2, lane=lane).found(id)
    tale.submitted("suspect").started("suspect", 2.0)
    tale.ran("suspect", 6.0, 6.1, "w2", token=2).found("suspect", losses=2)
    tale.submitted("isolated").started("isolated", 2.0, child=7)
    tale.ran("isolated", 8.5, 8.6, "w2", token=2, child=8).found("isolated")
    tale.submitted("canceled").started("canceled", 2.0).found("canceled", "canceled")
    return tale.whole("before", 2.0, 2.5)


def test_every_run_that_was_cut_off_counts_from_the_kill_to_its_next_start() -> None:
    [kill] = blown(tell(struck().events, TERMS))
    assert kill.running == 6
    assert kill.delays == (2.0, 2.0, 3.0, 5.5, 6.0)
    assert kill.free == (2.0, 6.0)


def test_what_is_later_than_the_bound_is_counted() -> None:
    figures = summary(blown(tell(struck().events, TERMS)), bound=4.0)
    assert figures[FREE] == {"n": 2, "p50": 4.0, "p99": 6.0, "max": 6.0, "late": 1}
    assert figures["longest of each kill"]["n"] == 1


@pytest.mark.parametrize(
    ("due", "level", "lane", "free"),
    [(4.0, 5, "l", 1), (8.5, 5, "l", 2), (4.0, 0, "l", 2), (4.0, 5, "m", 2)],
)
def test_who_is_in_line_behind_more_important_ones_waits_for_them(
    due: float, level: int, lane: str, free: int
) -> None:
    tale = struck().submitted("z", due, lane=lane, priority=level)
    tale.ran("z", 8.9, 9.5, "w2", lane=lane, priority=level).found("z")
    [kill] = blown(tell(tale.events, TERMS))
    assert len(kill.free) == free


def test_where_nobody_renews_for_two_heartbeats_it_counts_from_the_end_of_that() -> None:
    def told(*heartbeats: float) -> tuple[float, ...]:
        tale = struck().renewed("w2", *(2.0 + n / 5 for n in range(10)), *heartbeats)
        [kill] = blown(tell(tale.events, TERMS))
        return kill.free

    assert told() == (2.0, 6.0)
    assert told(4.05) == (2.0, 6.0)
    assert told(4.3) == pytest.approx((0.69, 4.69))


def test_one_slow_answer_is_no_time_in_which_nobody_renewed() -> None:
    tale = struck().renewed("w2", *(2.0 + n / 5 for n in range(40)))
    tale.add(e.Renewed(at=4.9, sent=4.4, taken=9e8 + 4.41, worker="w3"))
    assert silences(tell(tale.events, TERMS)) == []


def test_a_kill_in_a_stop_is_told_apart() -> None:
    kills = blown(tell(struck().stopped("w9", 2.0, 6.0).events, TERMS))
    assert [one.while_stopped for one in kills] == [True]
    assert summary(kills, 4.0)[QUIET] == {"n": 0}


def test_one_late_start_is_too_many_unless_another_was_stopped() -> None:
    def complaints(tale: Tale, bound: float) -> list[str]:
        return late(summary(blown(tell(tale.events, TERMS)), bound))

    assert complaints(struck(), 6.0) == []
    [one] = complaints(struck(), 4.0)
    assert one.startswith("1 of 2 ")
    assert complaints(struck().stopped("w9", 2.0, 6.0), 4.0) == []
