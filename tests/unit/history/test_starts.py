"""The checker on starts: planted defects are found, and what only looks like one is not."""

from __future__ import annotations

import pytest

from support.history import events as e
from support.history.tale import Tale


def retried() -> Tale:
    """Attempt 1 fails, attempt 2 returns."""
    tale = Tale().submitted("a").started("a", 2.0).ended("a", 2.5, how="raised")
    return tale.ran("a", 3.0, 3.5, "w2", attempt=2, token=2).found("a")


def twice(first: float = 2.0, second: float = 5.0, *, end: float | None = None) -> Tale:
    """The same attempt starts on w1 and then on w2; the first one ends if it is said when."""
    tale = Tale().submitted("a").started("a", first)
    if end is not None:
        tale.ended("a", end)
    return tale.ran("a", second, second + 0.5, "w2", token=2).found("a")


def test_a_plain_task_and_a_retry_are_in_order() -> None:
    assert Tale().whole("a").broken() == set()
    assert retried().broken() == set()


# -- doubled -----------------------------------------------------------------------------------


def test_a_second_start_that_nothing_explains() -> None:
    report = twice().report()
    assert not report["doubled"].ok
    assert len(report["doubled"].broken[0].evidence) == 2
    assert "started again" in str(report)


def test_a_second_start_after_the_first_returned_is_no_better() -> None:
    assert twice(end=2.5).broken() == {"doubled"}


def test_a_kill_explains_it_and_is_named() -> None:
    report = twice().killed("w1", 2.5).report()
    assert report["doubled"].ok
    [found] = report["doubled"].excused
    assert isinstance(found.evidence[1], e.Killed)


@pytest.mark.parametrize(
    ("worker", "at"),
    [
        ("w2", 2.5),  # another worker
        ("w1", 1.5),  # before it held the task: its pid was somebody else's
        ("w1", 5.5),  # after the second start
    ],
)
def test_a_kill_of_another_or_at_another_time_does_not(worker: str, at: float) -> None:
    assert "doubled" in twice().killed(worker, at).broken()


def test_a_kill_long_after_the_outcome_was_recorded_does_not() -> None:
    assert twice(2.0, 30.0, end=2.5).killed("w1", 20.0).broken() == {"doubled"}


def test_a_kill_soon_after_the_end_does() -> None:
    assert twice(2.0, 8.0, end=2.5).killed("w1", 3.0).broken() == set()


def test_an_outage_keeps_outcomes_from_being_recorded() -> None:
    tale = twice(2.0, 30.0, end=2.5).killed("w1", 20.0)
    assert tale.cut_off("", 2.4, 19.0).broken() == set()


def test_an_outage_that_begins_just_after_the_end_does_so_too() -> None:
    def struck(begin: float) -> set[str]:
        tale = twice(2.0, 30.0, end=2.5).killed("w1", 20.0)
        return tale.cut_off("", begin, 19.0).broken()

    assert struck(2.51) == set()
    assert struck(4.0) == {"doubled"}, "it was recorded before"


def test_a_worker_that_was_not_heard_between_its_end_and_the_outage_had_not_recorded_it() -> None:
    def struck(*heartbeats: float) -> set[str]:
        tale = twice(2.0, 30.0, end=2.5).killed("w1", 20.0).cut_off("", 4.0, 19.0)
        return tale.renewed("w1", 2.0, *heartbeats).broken()

    assert struck() == set(), "it was too busy for that, too"
    assert struck(2.6) == {"doubled"}


def test_kills_are_found_by_pid_of_that_time() -> None:
    def tale(pid: int) -> Tale:
        told = Tale().submitted("a").started("a", 2.0, "w1", pid=7)
        told.ran("a", 5.0, 5.5, "w2", pid=8, token=2).found("a")
        told.add(e.Born(at=9.0, worker="w9", pid=7))  # the pid is used again
        return told.add(e.Killed(at=2.6, sent=2.5, pid=pid))

    assert tale(7).broken() == set()
    assert tale(8).broken() == {"doubled"}


def test_a_stop_past_the_lease_explains_it() -> None:
    assert twice().stopped("w1", 2.1, 6.0).broken() == set()


def test_a_stop_that_is_too_short_does_not() -> None:
    assert twice().stopped("w1", 2.1, 3.0).broken() == {"doubled"}


def test_a_second_start_before_the_lease_can_have_run_out() -> None:
    assert twice(2.0, 2.8).stopped("w1", 2.1, 6.0).broken() == {"doubled"}


def test_a_worker_that_was_cut_off_explains_it_but_an_outage_of_all_does_not() -> None:
    assert twice().cut_off("w1", 2.1, 6.0).broken() == set()
    assert twice().cut_off("", 2.1, 6.0).broken() == {"doubled"}


def test_code_that_starts_as_its_process_wakes_is_explained_by_the_stop() -> None:
    """It had been checked before the stop; the task went elsewhere meanwhile."""
    tale = Tale().submitted("a").ran("a", 5.0, 5.5, "w2", token=2).found("a")
    tale.add(e.Recorded(at=5.6, id="a", state="success"))
    tale.started("a", 6.01, "w1", token=1).ended("a", 6.02, 1, "canceled")
    assert tale.broken() == {"doubled"}
    assert tale.stopped("w1", 2.0, 6.0).broken() == set()


def test_and_so_is_another_start_after_that() -> None:
    def stopped(second: float) -> set[str]:
        return twice(6.01, second, end=6.2).stopped("w1", 2.0, 6.0).broken()

    assert twice(6.01, 9.0, end=6.2).broken() == {"doubled"}
    assert stopped(9.0) == set()
    assert stopped(300.0) == {"doubled"}, "what is lost by a stop is lost soon"


def test_but_not_long_after_it_woke() -> None:
    tale = Tale().submitted("a").ran("a", 5.0, 5.5, "w2", token=2).found("a")
    tale.started("a", 8.0, "w1", token=1).ended("a", 8.1, 1, "canceled").stopped("w1", 2.0, 6.0)
    assert tale.broken() == {"doubled"}


def test_a_hand_back_line_explains_it() -> None:
    assert twice().handed_back("a", 4.0).broken() == set()


@pytest.mark.parametrize("blow", ["stopped", "cut_off"])
def test_a_blow_that_its_worker_survived_explains_only_what_was_lost_then(blow: str) -> None:
    def tale() -> Tale:
        told = twice(2.0, 400.0, end=500.0)
        getattr(told, blow)("w1", 3.0, 4.9)
        return told

    assert tale().broken() == {"doubled"}
    assert tale().add(e.DeclaredDead(at=4.8, worker="w1", id="a")).broken() == set(), "it waited"
    assert "doubled" in tale().add(e.DeclaredDead(at=399.0, worker="w1", id="a")).broken()
    assert "doubled" in tale().add(e.DeclaredDead(at=4.8, worker="w1", id="b")).broken()


@pytest.mark.parametrize(("end", "broken"), [(11.0, set()), (13.0, {"doubled"})])
def test_what_is_handed_back_does_not_run_on_for_long(end: float, broken: set[str]) -> None:
    tale = Tale().submitted("a").started("a", 2.0).ended("a", end, how="canceled")
    tale.handed_back("a", 4.0).ran("a", 5.0, 6.0, "w2", attempt=2, token=2).found("a", attempt=2)
    assert tale.broken() == broken


def alive(*, started: float = 0.0, renewed: float = 0.0, given_up: bool = False) -> set[str]:
    """A run is given away at 4.0, and what its worker does after that."""
    tale = Tale().submitted("a").started("a", 2.0).ended("a", 6.0, how="canceled")
    if given_up:
        tale.add(e.GivenUp(at=4.0, id="a", token=1, worker="w1"))
    else:
        tale.handed_back("a", 4.0)
    tale.ran("a", 5.0, 6.0, "w2", attempt=2, token=2).found("a", attempt=2)
    if started:
        tale.whole("b", started, started + 0.1)
    return tale.renewed("w1", *([renewed] if renewed else [])).broken()


@pytest.mark.parametrize("given_up", [False, True])
def test_who_hands_back_what_runs_ends(given_up: bool) -> None:
    assert alive(given_up=given_up) == set()
    assert alive(given_up=given_up, started=3.9, renewed=9.0) == set(), "it takes a while"
    assert alive(given_up=given_up, started=5.1) == {"doubled"}
    assert alive(given_up=given_up, renewed=12.1) == {"doubled"}


def test_many_that_a_living_worker_handed_back_are_doubled_each() -> None:
    tale = Tale()
    for n in range(50):
        at = 10.0 + n
        tale.submitted(f"a{n}").started(f"a{n}", at).ended(f"a{n}", at + 7.0)
        tale.handed_back(f"a{n}", at + 0.1).ran(f"a{n}", at + 0.2, at + 7.2, "w2", token=2)
        tale.found(f"a{n}")
    assert len(tale.report()["doubled"].broken) >= 48


@pytest.mark.parametrize(
    ("end", "at", "token", "broken"),
    [
        (6.0, 4.0, 1, set()),
        (13.0, 4.0, 1, {"doubled"}),  # it runs on for too long
        (6.0, 5.5, 1, {"doubled"}),  # the second start was earlier
        (6.0, 4.0, 3, {"doubled"}),  # of another delivery
    ],
)
def test_what_a_worker_that_ends_gives_up_beyond_its_time_out_may_run_on_for_a_while(
    end: float, at: float, token: int, broken: set[str]
) -> None:
    tale = Tale().submitted("a").started("a", 2.0).ended("a", end, how="canceled")
    tale.add(e.GivenUp(at=at, id="a", token=token, worker="w1"))
    tale.ran("a", 5.0, 5.5, "w2", attempt=2, token=2).found("a", attempt=2)
    assert tale.broken() == broken


@pytest.mark.parametrize(
    ("at", "token", "ran"),
    [
        (4.0, 1, False),  # it says that the handler had not been entered
        (6.0, 1, True),  # the second start was earlier
        (4.0, 3, True),  # of another delivery
    ],
)
def test_a_hand_back_line_that_does_not_fit(at: float, token: int, ran: bool) -> None:
    tale = twice().handed_back("a", at, token, ran=ran)
    assert "doubled" in tale.broken()


def test_unstarted_work_handed_back_is_nothing_special() -> None:
    tale = Tale().submitted("a").handed_back("a", 2.0, ran=False)
    assert tale.ran("a", 3.0, 4.0, "w2", token=2).found("a").broken() == set()


def test_the_same_delivery_never_starts_twice_not_even_after_a_kill() -> None:
    tale = Tale().submitted("a").started("a", 2.0).killed("w1", 2.5)
    assert tale.ran("a", 5.0, 6.0, "w2", token=1).found("a").broken() == {"doubled"}


def test_a_retry_that_starts_beside_the_first_attempt() -> None:
    tale = Tale().submitted("a").started("a", 2.0).ended("a", 4.0, how="raised")
    tale.ran("a", 3.0, 3.5, "w2", attempt=2, token=2).found("a")
    assert tale.broken() == {"doubled"}


def test_a_start_after_the_end_was_seen() -> None:
    tale = Tale().whole("a").add(e.Recorded(at=3.5, id="a", state="success"))
    assert tale.broken() == set()
    tale.ran("a", 4.0, 5.0, "w2", attempt=2, token=2)
    assert tale.broken() == {"doubled", "attempts"}


def test_a_kill_does_not_excuse_a_start_after_the_end_was_seen() -> None:
    tale = twice().killed("w1", 2.5).add(e.Recorded(at=4.0, id="a", state="success"))
    assert tale.broken() == {"doubled"}


def test_a_replay_begins_anew() -> None:
    tale = Tale().whole("a").add(e.Recorded(at=3.5, id="a", state="success"))
    tale.add(e.ReplayAsked(at=4.0, id="a")).ran("a", 5.0, 6.0, "w2", token=2)
    assert tale.broken() == set()


def test_an_isolated_run_ends_when_its_process_is_gone() -> None:
    def tale(alive: float) -> Tale:
        told = Tale().submitted("a").started("a", 2.0, pid=5, child=6)
        told.ran("a", 4.0, 4.5, "w2", attempt=2, token=2).found("a")
        return told.add(e.Gone(at=5.0, pid=6, alive=alive))

    assert tale(3.0).broken() == set()
    assert tale(4.4).broken() == {"doubled"}


# -- early -------------------------------------------------------------------------------------


def test_a_start_before_its_time() -> None:
    assert Tale().submitted("a", due=10.0).ran("a", 9.5, 11.0).found("a").broken() == {"early"}


def test_a_start_before_the_submit_was_made() -> None:
    assert Tale().submitted("a", 5.0).ran("a", 4.0, 6.0).found("a").broken() == {"early"}


def test_a_start_at_its_time_and_one_before_the_submit_was_answered() -> None:
    assert Tale().submitted("a", due=10.0).ran("a", 10.0, 11.0).found("a").broken() == set()
    assert Tale().submitted("a", 5.0, due=4.0).ran("a", 4.5, 6.0).found("a").broken() == set()


def test_of_two_submits_of_one_id_the_earlier_due_counts() -> None:
    tale = Tale().submitted("a", 1.0, due=1.0, answer="unknown")
    assert tale.submitted("a", 4.0).ran("a", 2.0, 3.0).found("a").broken() == set()


# -- cancel ------------------------------------------------------------------------------------


def test_a_start_after_an_applied_cancel() -> None:
    tale = Tale().submitted("a").canceled("a", 2.0).found("a", "canceled")
    assert tale.broken() == set()
    assert tale.started("a", 2.5).ended("a", 2.6, how="canceled").broken() == {"cancel"}


@pytest.mark.parametrize(("replay", "broken"), [(4.0, set()), (2.5, {"cancel"})])
def test_a_cancel_that_a_replay_overtook(replay: float, broken: set[str]) -> None:
    tale = Tale().submitted("a").add(e.CancelAsked(at=3.0, id="a"))
    tale.add(e.ReplayAsked(at=replay, id="a"), e.CancelAnswered(at=5.0, id="a", did="applied"))
    assert tale.ran("a", 6.0, 7.0).found("a").broken() == broken


def test_an_applied_cancel_between_two_attempts() -> None:
    tale = Tale().submitted("a").started("a", 2.0).ended("a", 2.5, how="raised")
    assert tale.canceled("a", 3.0).found("a", "canceled").broken() == set()


def test_a_running_task_of_which_it_was_said_that_it_had_not_started() -> None:
    tale = Tale().submitted("a").ran("a", 2.0, 4.0).canceled("a", 3.0).found("a", "canceled")
    assert tale.broken() == {"cancel"}


def test_a_fenced_run_may_be_under_way_when_its_task_is_canceled() -> None:
    tale = Tale().submitted("a").ran("a", 2.0, 9.0).stopped("w1", 2.1, 8.0)
    assert tale.canceled("a", 6.0).found("a", "canceled").broken() == set()


def running(told: float | None, end: float = 10.0) -> Tale:
    tale = Tale().submitted("a").started("a", 2.0).ended("a", end, how="canceled")
    if told is not None:
        tale.add(e.Told(at=told, id="a", token=1))
    return tale.canceled("a", 3.0, "requested").found("a", "canceled")


@pytest.mark.parametrize(("told", "end"), [(4.9, 10.0), (None, 4.9), (4.9, 4.95)])
def test_a_running_task_is_told_in_time(told: float | None, end: float) -> None:
    assert running(told, end).broken() == set()


@pytest.mark.parametrize(("told", "end"), [(5.1, 10.0), (None, 5.1)])
def test_or_it_is_not(told: float | None, end: float) -> None:
    assert running(told, end).broken() == {"cancel"}


def test_an_outage_gives_more_time_but_no_more_than_it_lasted() -> None:
    assert running(7.9).cut_off("", 2.9, 6.0).broken() == set()
    assert running(8.1).cut_off("", 2.9, 6.0).broken() == {"cancel"}


@pytest.mark.parametrize("did", ["requested", "applied"])
def test_a_stop_long_before_a_cancel_excuses_nothing(did: str) -> None:
    def tale(end: float) -> Tale:
        told = Tale().submitted("a", 90.0).started("a", 100.0).ended("a", 150.0, how="canceled")
        told.found("a", "canceled").stopped("w1", 2.0, 6.0)
        return told.canceled("a", 110.0, did).stopped("w1", 101.0, end)

    assert tale(105.0).broken() == {"cancel"}
    assert tale(109.0).broken() == set(), "it may have lost the task, and not know it yet"


def test_a_delivery_that_was_not_begun_may_start_until_its_worker_is_told() -> None:
    def tale(start: float) -> Tale:
        told = Tale().submitted("a").canceled("a", 3.0, "requested").found("a", "canceled")
        return told.started("a", start).ended("a", start + 0.1, how="canceled")

    assert tale(3.5).broken() == set()
    assert tale(5.5).broken() == {"cancel"}


@pytest.mark.parametrize("did", ["final", "unknown", "repeated"])
def test_a_cancel_that_came_too_late_asks_for_nothing(did: str) -> None:
    assert Tale().whole("a").canceled("a", 1.5, did).broken() == set()
