"""The checker on causes and attempts: what ends or goes on without a reason is found."""

from __future__ import annotations

from typing import Any

import pytest

from support.history import events as e
from support.history.tale import Tale


def raised(**more: Any) -> Tale:
    """Its only run raised."""
    return Tale().submitted("a", **more).started("a", 2.0).ended("a", 3.0, how="raised")


def test_a_hundred_tasks_of_which_none_has_run() -> None:
    tale = Tale()
    for n in range(100):
        tale.submitted(f"a{n}").found(f"a{n}", "failed", reason="exception", attempt=1)
    tale.add(e.Ledger(at=1001.0, accepted=100, live=0, final=100))
    assert not tale.report().ok
    assert len(tale.report()["cause"].broken) == 100


def test_failed_is_what_raised() -> None:
    assert raised().found("a", "failed", reason="exception").broken() == set()
    returned = Tale().submitted("a").ran("a", 2.0, 3.0)
    assert returned.found("a", "failed", reason="exception").broken() == {"cause"}


def test_the_run_that_raised_is_the_one_that_the_history_names() -> None:
    tale = raised().ran("a", 4.0, 5.0, attempt=2, token=2)
    history = [e.Delivered(1, 1, "w1", "retry"), e.Delivered(2, 2, "w1", "failed")]
    assert tale.found("a", "failed", attempt=2, history=history).broken() == {"cause"}


def test_failed_with_retries_left() -> None:
    assert raised(retries=3).found("a", "failed", attempt=1).broken() == {"cause"}
    assert raised(retries=0).found("a", "failed", attempt=1).broken() == set()
    assert raised(retries=3).found("a", "failed", reason="rejected", attempt=1).broken() == set()


def test_arguments_that_cannot_be_made_and_results_that_cannot_be_kept() -> None:
    assert Tale().submitted("a").found("a", "failed", reason="payload").broken() == set()
    returned = Tale().submitted("a").ran("a", 2.0, 3.0)
    assert returned.found("a", "failed", reason="result").broken() == set()


def test_canceled_is_what_somebody_asked_for() -> None:
    assert Tale().submitted("a").found("a", "canceled").broken() == {"cause"}
    assert Tale().submitted("a").canceled("a", 1.5).found("a", "canceled").broken() == set()


@pytest.mark.parametrize("option", ["queue_timeout", "process_timeout"])
def test_timeout_needs_its_option(option: str) -> None:
    tale = Tale().submitted("a", **{option: 5.0})
    assert tale.found("a", "timeout", reason=option).broken() == set()
    assert Tale().submitted("a").found("a", "timeout", reason=option).broken() == {"cause"}


def test_a_run_that_did_not_last_so_long_has_not_timed_out() -> None:
    def tale(end: float) -> Tale:
        told = Tale().submitted("a", process_timeout=5.0)
        told.started("a", 2.0).ended("a", end, how="canceled")
        history = [e.Delivered(1, 1, "w1", "timeout")]
        return told.found("a", "timeout", reason="process_timeout", history=history)

    assert tale(7.0).broken() == set()
    assert tale(4.0).broken() == {"cause"}


def test_what_was_seen_to_have_ended_is_found_like_that() -> None:
    tale = raised().add(e.Recorded(at=4.0, id="a", state="success")).found("a", "failed")
    assert tale.broken() == {"cause"}
    tale = raised().add(e.Recorded(at=3.5, id="a", state="failed"))
    tale.add(e.ReplayAsked(at=4.0, id="a")).ran("a", 5.0, 6.0, token=2).found("a")
    assert tale.broken() == set()


# -- attempts ------------------------------------------------------------------------------------


def again(how: str = "returned", *, end: float = 3.0, at: float = 4.0, **more: Any) -> Tale:
    """A second attempt after the first has ended like this."""
    tale = Tale().submitted("a", **more).started("a", 2.0)
    tale.add(e.Ended(at=end, id="a", token=1, how=how, wait=0.5))  # type: ignore[arg-type]
    return tale.ran("a", at, at + 1.0, "w2", attempt=2, token=2).found("a", attempt=2)


def test_what_has_returned_is_not_tried_again() -> None:
    assert again().broken() == {"attempts"}
    assert again("raised").broken() == set()


def test_unless_it_was_handed_back_or_had_run_too_long() -> None:
    assert again().handed_back("a", 3.1).broken() == set()
    assert again(process_timeout=1.0).broken() == set()
    assert again(process_timeout=1.5).broken() == {"attempts"}


def test_a_retry_waits_as_it_was_asked_to() -> None:
    assert again("raised", at=3.5).broken() == set()
    assert again("raised", at=3.4).broken() == {"attempts"}


@pytest.mark.parametrize("second", [1, 3])
def test_attempts_count_one_by_one(second: int) -> None:
    tale = Tale().submitted("a").started("a", 2.0, attempt=2 if second == 1 else 1)
    tale.ended("a", 3.0, how="raised").ran("a", 5.0, 6.0, attempt=second, token=2)
    assert "attempts" in tale.found("a", attempt=second).broken()


def test_a_hand_back_of_work_that_was_hardly_begun_counts_as_one() -> None:
    tale = Tale().submitted("a").started("a", 2.0).ended("a", 3.0, how="raised")
    tale.handed_back("a", 4.0, 2, worker="w3").killed("w3", 4.1)
    tale.ran("a", 5.0, 6.0, attempt=3, token=3).found("a", attempt=3)
    assert tale.broken() == set()


def test_what_never_began_is_handed_back_uncharged() -> None:
    def tale(*, ran: bool) -> Tale:
        told = Tale().submitted("a").handed_back("a", 2.0, ran=ran)
        return told.ran("a", 3.0, 4.0, "w2", attempt=1 + ran, token=2).found("a", attempt=1 + ran)

    assert tale(ran=False).broken() == set()
    assert tale(ran=True).broken() == {"attempts"}
    assert tale(ran=True).killed("w1", 3.0).broken() == set()
    assert tale(ran=True).killed("w1", 9.0).broken() == {"attempts"}
    assert tale(ran=True).killed("w2", 2.0).broken() == {"attempts"}


def test_the_first_one_is_number_one() -> None:
    tale = Tale().submitted("a").ran("a", 2.0, 3.0, attempt=2)
    assert tale.found("a", attempt=2).broken() == {"attempts"}


# -- pauses --------------------------------------------------------------------------------------


def paused(at: float, *, resumed: float | None = None) -> Tale:
    tale = Tale().add(e.LanePaused(at=2.0, lane="l")).whole("a", at, at + 1.0)
    return tale.add(e.LaneResumed(at=resumed, lane="l")) if resumed is not None else tale


def test_nothing_starts_in_a_paused_lane() -> None:
    assert paused(3.9).broken() == set(), "its worker may not know yet"
    assert paused(500.0).broken() == {"paused"}
    assert paused(500.0, resumed=499.0).broken() == set()
    assert paused(500.0).add(e.LanePaused(at=499.5, lane="l")).broken() == {"paused"}


def test_but_by_a_worker_that_could_not_be_told() -> None:
    assert paused(6.5).cut_off("w1", 1.9, 6.0).broken() == set()
    assert paused(8.5).cut_off("w1", 1.9, 6.0).broken() == {"paused"}


def test_a_cut_right_after_a_pause_keeps_its_word_from_a_worker() -> None:
    assert paused(4.5).cut_off("", 2.5, 4.2).broken() == set(), "not told before the outage"
    assert paused(4.5).cut_off("w1", 2.5, 3.0).broken() == set(), "nor before its own"
    assert paused(4.5).cut_off("w2", 2.5, 4.2).broken() == {"paused"}, "another's"
    assert paused(6.5).cut_off("", 2.5, 4.2).broken() == {"paused"}, "told long ago"
    assert paused(6.5).cut_off("", 4.2, 6.2).broken() == {"paused"}, "told before"


@pytest.mark.parametrize(("every", "broken"), [(1.0, {"paused"}), (0.7, set())])
def test_short_cuts_keep_a_word_only_if_no_heartbeat_fits_between(
    every: float, broken: set[str]
) -> None:
    for blow in ("cut_off", "stopped"):
        tale = Tale().add(e.LanePaused(at=10.0, lane="l")).submitted("a", 60.0)
        for n in range(80):
            getattr(tale, blow)("w1", 10.5 + n * every, 10.55 + n * every)
        assert tale.ran("a", 66.0, 66.5, "w1").found("a").broken() == broken


def test_a_stop_of_a_worker_that_has_heard_leaves_it_the_rest_of_its_time() -> None:
    assert paused(5.4).stopped("w1", 3.5, 5.0).broken() == set()
    assert paused(5.6).stopped("w1", 3.5, 5.0).broken() == {"paused"}
