"""The checker on limits and order: planted defects are found, clean histories are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.history import events as e
from support.history.tale import TERMS, Tale

#: Of a harness that sees the semaphore's side.
TOLD = replace(TERMS, permits_told=True)


def three(*, second: str = "w1") -> Tale:
    """Three at once from 2.2 to 3, under a limit of 2 in their lane."""
    tale = Tale().limit(2)
    tale.whole("a", 2.0, 3.0).whole("b", 2.1, 3.1, worker=second)
    return tale.whole("c", 2.2, 3.2, worker="w3")


def test_one_too_many() -> None:
    report = three().report()
    assert not report["limit"].ok
    assert len(report["limit"].broken[0].evidence) == 3
    assert report["limit"].looked_at == 3


def test_as_many_as_allowed_and_one_that_starts_as_another_ends() -> None:
    tale = Tale().limit(2).whole("a", 2.0, 3.0).whole("b", 2.1, 3.1).whole("c", 3.0, 3.2)
    assert tale.broken() == set()


def test_other_lanes_do_not_count() -> None:
    tale = Tale().limit(1).whole("a", 2.0, 3.0)
    assert tale.whole("b", 2.1, 3.0, lane="other").broken() == set()


def test_a_key_counts_over_all_lanes_and_empty_keys_do_not() -> None:
    tale = Tale().limit(1, key="k").whole("a", 2.0, 3.0).whole("b", 2.0, 3.0)
    tale.whole("c", 2.0, 3.0, key="k", lane="m")
    assert tale.broken() == set()
    assert tale.whole("d", 2.5, 3.0, key="k", lane="n").broken() == {"limit"}


def test_a_run_ends_with_its_worker() -> None:
    """Killed at 2.15, while its code would have run on; the permit was free by 2.2."""
    tale = Tale().limit(2).whole("a", 2.0, 3.0)
    tale.submitted("b").started("b", 2.1, "w2").killed("w2", 2.15).found(
        "b", "failed", reason="payload"
    )
    assert tale.whole("c", 2.2, 3.2, worker="w3").broken() == set()


def test_a_run_without_an_end_counts_on() -> None:
    tale = Tale().limit(1).submitted("a").started("a", 2.0).found("a", "failed", reason="payload")
    assert tale.whole("b", 500.0, 501.0, worker="w2").broken() == {"limit"}


def test_the_code_of_a_stopped_worker_may_outlive_its_permit() -> None:
    tale = Tale().limit(1).whole("a", 2.0, 9.0).stopped("w1", 2.1, 8.0)
    assert tale.whole("b", 6.0, 6.5, worker="w2").broken() == set()


def test_but_not_before_the_lease_can_have_run_out() -> None:
    tale = Tale().limit(1).whole("a", 2.0, 9.0).stopped("w1", 2.1, 8.0)
    assert tale.whole("b", 3.0, 3.5, worker="w2").broken() == {"limit"}


def test_nor_after_a_stop_that_was_too_short() -> None:
    tale = Tale().limit(1).whole("a", 2.0, 9.0).stopped("w1", 2.1, 3.1)
    assert tale.whole("b", 6.0, 6.5, worker="w2").broken() == {"limit"}


def test_an_outage_of_all_frees_no_permit() -> None:
    tale = Tale().limit(1).whole("a", 2.0, 9.0).cut_off("", 2.1, 8.0)
    assert tale.whole("b", 6.0, 6.5, worker="w2").broken() == {"limit"}


def stormy(*renewed: float) -> Tale:
    """One runs from 2 to 9 on a worker in bad weather, and another beside it from 6 on."""
    tale = Tale().limit(1).whole("a", 2.0, 9.0).cut_off("w1", 2.1, 8.5).kept("w1", *renewed)
    return tale.whole("b", 6.0, 6.5, worker="w2")


@pytest.mark.parametrize(
    ("renewed", "broken"),
    [
        ((1.9, 3.5, 5.0, 6.7, 8.4), {"limit"}),  # it never lost a permit
        ((1.9, 3.5, 4.2, 6.7, 8.4), {"limit"}),  # not lost before 6.2
        ((1.9, 3.5, 6.7, 8.4), set()),  # lost at 5.5
        ((1.9,), set()),
        ((), set()),
    ],
)
def test_a_worker_that_renews_in_a_storm_loses_no_permit(
    renewed: tuple[float, ...], broken: set[str]
) -> None:
    assert stormy(*renewed).broken(terms=TOLD) == broken
    assert stormy(*renewed).broken() == set(), "where renewals are not told it may have"


def test_nor_does_one_whose_storm_is_over_before_its_permit_can_have_expired() -> None:
    tale = Tale().limit(1).whole("a", 2.0, 9.0).cut_off("w1", 2.1, 3.8).kept("w1", 1.9, 5.0, 6.0)
    assert tale.whole("b", 3.5, 3.9, worker="w2").broken(terms=TOLD) == {"limit"}


def test_a_healthy_worker_that_does_not_renew_is_no_excuse() -> None:
    tale = Tale().limit(1).whole("a", 2.0, 9.0).kept("w1", 1.9)
    assert tale.whole("b", 6.0, 6.5, worker="w2").broken(terms=TOLD) == {"limit"}


def test_what_a_waking_worker_starts_is_not_held_against_it() -> None:
    tale = Tale().limit(1).stopped("w1", 2.0, 6.0).whole("b", 5.5, 7.0, worker="w2")
    assert tale.submitted("a").ran("a", 6.01, 6.02).found("a").broken() == set()


# -- limits that change --------------------------------------------------------------------------


def lowered() -> Tale:
    """Three run when the limit becomes 1 at 4.0; they may drain."""
    tale = Tale().limit(3).limit(1, 4.0, took=0.1)
    return tale.whole("a", 2.0, 9.0).whole("b", 2.0, 9.0).whole("c", 2.0, 9.0)


def test_what_ran_when_a_limit_was_lowered_drains() -> None:
    assert lowered().broken() == set()
    assert lowered().whole("d", 9.0, 9.5).broken() == set()


def test_but_nothing_new_starts_beside_it() -> None:
    assert lowered().whole("d", 6.0, 6.5).broken() == {"limit"}


@pytest.mark.parametrize("again", [1, 2])
def test_what_drains_goes_on_when_the_limit_is_set_again(again: int) -> None:
    tale = Tale().limit(3).limit(1, 4.0, took=0.1).whole("a", 2.0, 7.5)
    tale.whole("b", 2.0, 9.0).whole("c", 2.0, 9.0).limit(again, 5.5).whole("d", 7.6, 8.0)
    assert tale.broken() == set()
    assert tale.whole("e", 7.7, 8.0).broken() == {"limit"}


def test_what_drains_runs_beside_what_the_new_limit_allows() -> None:
    """One of three ends, and its permit, the one within the limit, serves the next."""
    tale = Tale().limit(3).limit(1, 4.0, took=0.1).whole("a", 2.0, 5.5)
    tale.whole("b", 2.0, 9.0).whole("c", 2.0, 9.0).whole("d", 5.6, 6.0)
    assert tale.broken() == set()
    assert tale.whole("e", 5.7, 6.0).broken() == {"limit"}


def drained() -> Tale:
    """Eight run when the limit becomes 5 at 10; three of them end at 12, five run on."""
    tale = Tale().limit(8).limit(5, 10.0)
    for n in range(8):
        tale.whole(f"old{n}", 5.0, 12.0 if n < 3 else 100.0)
    return tale


def test_what_has_drained_is_not_replaced() -> None:
    assert drained().broken() == set()
    assert drained().whole("new", 50.0, 60.0).broken() == {"limit"}


def test_nor_is_it_by_one_after_the_other() -> None:
    tale = drained()
    for n in range(20):
        tale.whole(f"new{n}", 15.0 + 3 * n, 17.0 + 3 * n)
    assert tale.broken() == {"limit"}


def test_a_permit_within_the_limit_serves_one_after_the_other_at_once() -> None:
    tale = drained()
    for n in range(20):
        tale.whole(f"new{n}", 12.5 + 3 * n, 15.0 + 3 * n)
    assert tale.broken() == set()


def test_what_began_later_does_not_drain() -> None:
    tale = Tale().limit(3).limit(1, 4.0, took=0.1).whole("a", 6.0, 9.0)
    assert tale.whole("b", 7.0, 8.0).broken() == {"limit"}


def test_within_the_second_that_workers_have_either_limit_holds() -> None:
    tale = Tale().limit(2).limit(1, 4.0, took=0.1).whole("a", 2.0, 9.0)
    assert tale.whole("b", 5.0, 5.2).broken() == set()
    assert tale.whole("c", 5.15, 5.3).broken() == {"limit"}


def test_a_limit_that_was_raised_or_removed() -> None:
    tale = Tale().limit(1).limit(2, 4.0, took=0.1).limit(None, 8.0, took=0.1)
    tale.whole("a", 2.0, 10.0).whole("b", 4.05, 10.0)
    assert tale.broken() == set()
    assert tale.whole("c", 7.0, 10.0).broken() == {"limit"}
    fine = Tale().limit(1).limit(None, 8.0, took=0.1).whole("a", 2.0, 10.0)
    assert fine.whole("c", 8.05, 10.0).broken() == set()


def test_a_limit_set_later_says_nothing_of_before() -> None:
    tale = Tale().limit(1, 4.0, took=0.1).whole("a", 2.0, 3.0).whole("b", 2.0, 3.0)
    assert tale.broken() == set()


# -- priority ------------------------------------------------------------------------------------


def crowd(count: int) -> Tale:
    """A task of priority 5 waits from 1.25 to 9; so many of priority 0 start meanwhile."""
    tale = Tale()
    for n in range(count):
        begin = 2.0 + 6.0 * n / count
        tale.whole(f"low{n}", begin, begin + 0.1)
    return tale.whole("high", 9.0, 9.5, priority=5)


def test_too_many_of_lower_priority_start_first() -> None:
    assert crowd(40).broken(ahead=10) == {"priority"}


def test_what_was_fetched_already_and_one_in_sixteen_may() -> None:
    assert crowd(10).broken(ahead=10) == set()
    assert crowd(40).broken(ahead=40) == set()


def test_a_task_that_starts_at_once_has_not_waited_whatever_dies_just_then() -> None:
    tale = Tale().whole("high", 1.1, 2.0, priority=5)
    for n in range(5):
        tale.killed(f"w{n + 2}", 1.15 + n * 0.01)
    assert tale.broken(ahead=10) == set()


def test_those_of_higher_priority_are_in_order() -> None:
    tale = Tale()
    for n in range(100):
        tale.whole(f"top{n}", 2.0 + n * 0.05, 2.1 + n * 0.05, priority=9)
    assert tale.whole("high", 9.0, 9.5, priority=5).broken(ahead=5) == set()


def test_other_lanes_have_an_order_of_their_own() -> None:
    tale = Tale()
    for n in range(100):
        tale.whole(f"low{n}", 2.0 + n * 0.05, 2.1 + n * 0.05, lane="other")
    assert tale.whole("high", 9.0, 9.5, priority=5).broken(ahead=5) == set()


def test_a_delayed_task_waits_from_its_due_time() -> None:
    tale = crowd(40)
    [submitted] = [one for one in tale.events if isinstance(one, e.Submitted) and one.id == "high"]
    submitted.due = 8.9
    assert tale.broken(ahead=10) == set()


def test_a_delay_counts_from_an_acceptance_that_came_late() -> None:
    tale = crowd(40)
    [submitted] = [one for one in tale.events if isinstance(one, e.Submitted) and one.id == "high"]
    submitted.at, submitted.due, submitted.delay = 4.0, 6.0, 4.9
    assert tale.broken(ahead=10) == set()
    submitted.delay = 0.0
    submitted.due = 4.0
    assert tale.broken(ahead=10) == {"priority"}


def test_a_task_with_a_key_may_wait_for_it() -> None:
    tale = crowd(40)
    for one in tale.events:
        if isinstance(one, e.Started) and one.id == "high":
            one.key = "k"
    assert tale.broken(ahead=10) == set()


def test_a_task_that_a_dead_worker_had_fetched_did_not_wait_in_line() -> None:
    tale = crowd(40)
    for one in tale.events:
        if isinstance(one, e.Started) and one.id == "high":
            one.token = 2
        if isinstance(one, e.Ended) and one.id == "high":
            one.token = 2
        if isinstance(one, e.FinalState) and one.id == "high":
            one.history = [e.Delivered(1, 1, "w7", "lost"), e.Delivered(2, 1, "w1", "success")]
    assert tale.killed("w7", 1.5).broken(ahead=10) == set()
