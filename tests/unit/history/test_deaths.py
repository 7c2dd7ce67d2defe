"""The checker on deaths: planted defects are found, clean histories are left alone."""

from __future__ import annotations

import pytest

from support.history import events as e
from support.history.tale import Tale


def test_a_worker_declared_dead_that_nobody_touched() -> None:
    tale = Tale().whole("a").add(e.DeclaredDead(at=5.0, worker="w7"))
    assert tale.broken() == {"dead"}
    assert tale.killed("w7", 2.0).broken() == set()


def test_or_so_a_history_says() -> None:
    history = [e.Delivered(1, 1, "w7", "lost"), e.Delivered(2, 1, "w1", "success")]
    tale = Tale().submitted("a").ran("a", 2.0, 3.0, token=2).found("a", history=history)
    assert tale.broken() == {"dead"}
    assert tale.killed("w7", 2.0).broken() == set()


def test_a_short_stop_or_an_outage_of_all_gives_no_right_to_declare_it_dead() -> None:
    declared = e.DeclaredDead(at=5.0, worker="w7")
    assert Tale().add(declared).stopped("w7", 2.0, 3.5).broken() == {"dead"}
    assert Tale().add(declared).cut_off("", 2.0, 4.5).broken() == {"dead"}
    assert Tale().add(declared).stopped("w7", 2.0, 6.0).broken() == set()
    assert Tale().add(declared).cut_off("w7", 2.0, 6.0).broken() == set()


def test_nor_does_what_befell_it_later() -> None:
    declared = e.DeclaredDead(at=5.0, worker="w7")
    assert Tale().add(declared).killed("w7", 6.0).broken() == {"dead"}
    assert Tale().add(declared).stopped("w7", 4.5, 9.0).broken() == {"dead"}


def given_up(*killed: str) -> Tale:
    tale = Tale().submitted("a")
    for n, worker in enumerate(("w1", "w2", "w3"), 1):
        tale.started("a", 10.0 * n, worker, token=n)
    history = [e.Delivered(n, 1, f"w{n}", "lost") for n in (1, 2, 3)]
    tale.found("a", "failed", reason="worker_lost", losses=3, history=history)
    for worker in killed:
        tale.killed(worker, 10.0 * int(worker[1:]) + 1.0)
    return tale


def test_a_task_given_up_after_three_kills_is_listed() -> None:
    report = given_up("w1", "w2", "w3").report()
    assert report["worker_lost"].ok
    assert report["worker_lost"].looked_at == 1
    assert len(report["worker_lost"].excused[0].evidence) == 3


def test_a_task_given_up_after_fewer() -> None:
    assert "worker_lost" in given_up("w1", "w2").broken()
    assert "worker_lost" in given_up().broken()


def test_kills_of_workers_that_had_done_with_it_do_not_count() -> None:
    tale = given_up("w1", "w2")
    tale.started("a", 1.5, "w9", token=0).ended("a", 1.6, 0, "raised").killed("w9", 40.0)
    assert "worker_lost" in tale.broken()


def test_three_blows_to_one_worker_before_it_held_the_task_do_not_count() -> None:
    tale = Tale().submitted("a").started("a", 50.0)
    tale.stopped("w1", 10.0, 20.0).stopped("w1", 22.0, 32.0).stopped("w1", 34.0, 44.0)
    tale.found("a", "failed", reason="worker_lost", losses=3)
    assert "worker_lost" in tale.broken()


def test_nor_does_one_blow_for_two_losses() -> None:
    tale = Tale().submitted("a").started("a", 2.0).killed("w1", 3.0)
    tale.started("a", 5.0, "w2", token=2).started("a", 7.0, "w2", token=3).killed("w2", 8.0)
    history = [e.Delivered(1, 1, "w1", "lost"), *(e.Delivered(n, 1, "w2", "lost") for n in (2, 3))]
    tale.found("a", "failed", reason="worker_lost", losses=3, history=history)
    assert "worker_lost" in tale.broken()


def test_a_worker_that_came_back_is_alive() -> None:
    tale = Tale().whole("a").stopped("w1", 3.0, 10.0)
    assert tale.add(e.DeclaredDead(at=5.5, worker="w1")).broken() == set()
    assert tale.add(e.DeclaredDead(at=600.0, worker="w1")).broken() == {"dead"}


# -- blows at another time -----------------------------------------------------------------------


def lost(token: int, worker: str, began: float = 0.0, ended: float = 0.0) -> e.Delivered:
    return e.Delivered(token, 1, worker, "lost", began, ended)


def never_started(*losses: e.Delivered) -> Tale:
    """A task that was given up after these, without having run."""
    tale = Tale().submitted("a")
    return tale.found("a", "failed", reason="worker_lost", losses=3, history=list(losses))


@pytest.mark.parametrize("told", [True, False])
def test_kills_long_after_the_losses_do_not_count(told: bool) -> None:
    def tale(delay: float) -> Tale:
        held = [(10.0 * n, 10.0 * n + 3.0) if told else (0.0, 0.0) for n in (1, 2, 3)]
        losses = [lost(n, f"w{n}", *held[n - 1]) for n in (1, 2, 3)]
        made = never_started(*losses)
        for n in (1, 2, 3):
            made.killed(f"w{n}", 10.0 * n + 1.0 + delay)
        return made

    assert tale(0.0).broken() == set()
    late = tale(100.0 if told else 2000.0)
    assert late.broken() == {"dead", "worker_lost"}


def test_nor_do_kills_long_before_a_delivery_that_never_started() -> None:
    losses = [lost(n, f"w{n}", 100.0 * n, 100.0 * n + 3.0) for n in (1, 2, 3)]
    tale = never_started(*losses)
    for n in (1, 2, 3):
        tale.killed(f"w{n}", 100.0 * n - 50.0)
    assert "worker_lost" in tale.broken()


def test_what_the_dead_had_asked_for_may_come_after_their_death() -> None:
    losses = [lost(n, f"w{n}", 10.0 * n, 10.0 * n + 3.0) for n in (1, 2, 3)]
    tale = never_started(*losses)
    for n in (1, 2, 3):
        tale.killed(f"w{n}", 10.0 * n - 0.5)
    assert tale.broken() == set()


@pytest.mark.parametrize("blow", ["stopped", "cut_off"])
def test_one_stop_or_outage_does_not_serve_for_three_losses(blow: str) -> None:
    tale = never_started(*(lost(n, "w1") for n in (1, 2, 3)))
    getattr(tale, blow)("w1", 10.0, 13.0)
    assert tale.broken() == {"worker_lost"}


def test_an_outage_serves_for_each_lease_that_ran_out_in_it() -> None:
    def tale(apart: float) -> Tale:
        times = [12.5 + apart * n for n in range(3)]
        made = never_started(*(lost(n + 1, "w1", at - 0.4, at) for n, at in enumerate(times)))
        return made.cut_off("w1", 10.0, 20.0)

    assert tale(3.0).broken() == set()
    assert tale(0.5).broken() == {"worker_lost"}


def test_a_stop_beside_an_outage_is_one_blow() -> None:
    tale = never_started(lost(1, "w1"), lost(2, "w1"), lost(3, "w2"))
    tale.stopped("w1", 10.0, 12.0).cut_off("w1", 10.0, 12.5).killed("w2", 20.0)
    assert tale.broken() == {"worker_lost"}


def test_three_stops_past_the_lease_are_three_blows() -> None:
    losses = [lost(n, "w1", 10.0 * n - 1.0, 10.0 * n + 2.5) for n in (1, 2, 3)]
    tale = never_started(*losses)
    for n in (1, 2, 3):
        tale.stopped("w1", 10.0 * n, 10.0 * n + 4.0)
    assert tale.broken() == set()


def test_a_run_that_ended_otherwise_without_its_last_line_was_not_lost() -> None:
    tale = given_up("w1", "w2").killed("w9", 5.0).started("a", 4.0, "w9", token=0)
    [final] = [one for one in tale.events if isinstance(one, e.FinalState)]
    final.history = [e.Delivered(0, 1, "w9", "timeout"), *final.history]
    assert "worker_lost" in tale.broken()


def test_losses_of_before_a_replay_do_not_count() -> None:
    tale = never_started(*(lost(n, f"w{n}", 10.0 * n, 10.0 * n + 3.0) for n in range(1, 7)))
    for n in (1, 2, 3):
        tale.killed(f"w{n}", 10.0 * n + 1.0)
    tale.add(e.ReplayAsked(at=35.0, id="a"))
    assert "worker_lost" in tale.broken()


def test_a_loss_that_was_over_before_its_worker_was_killed() -> None:
    """The task ran elsewhere long before: nobody had touched the first worker by then."""
    tale = Tale().submitted("a").started("a", 2.0).ran("a", 9.0, 9.5, "w2", token=2)
    tale.found("a", history=[lost(1, "w1"), e.Delivered(2, 1, "w2", "success")])
    assert "dead" in tale.killed("w1", 40.0).broken()


def test_a_loss_that_was_recorded_when_its_worker_had_long_come_back() -> None:
    def tale(ended: float) -> Tale:
        told = Tale().submitted("a").ran("a", 601.0, 602.0, "w2", token=2)
        history = [lost(1, "w1", 2.0, ended), e.Delivered(2, 1, "w2", "success")]
        return told.stopped("w1", 3.0, 10.0).found("a", history=history)

    assert tale(5.5).broken() == set()
    assert tale(600.0).broken() == {"dead"}


def test_code_that_slept_over_its_loss_starts_after_it() -> None:
    tale = Tale().submitted("a").stopped("w1", 3.0, 10.0).started("a", 10.2)
    tale.ran("a", 6.0, 7.0, "w2", token=2)
    history = [lost(1, "w1", 2.9, 5.5), e.Delivered(2, 1, "w2", "success")]
    assert "dead" not in tale.found("a", history=history).broken()
