"""Reasons in workers: who serves a task, and what those who had it did."""

from __future__ import annotations

from typing import Any

import pytest

from support.evidence import (
    LANE,
    NOW,
    attempt,
    codes,
    evidence,
    first,
    info,
    worker,
)
from xqueue_core.task import State
from xqueue_core.why import (
    Busy,
    Due,
    HandedBack,
    Lost,
    NoWorker,
    Paused,
    Ready,
    reasons,
)

# -- workers -------------------------------------------------------------------------------------


def test_a_paused_lane() -> None:
    assert reasons(evidence(info(), paused=True)) == [Paused(lane=LANE)]


def nobody(*workers: Any, where: str = "") -> NoWorker:
    """What is said of these workers."""
    reason = first(evidence(info(), workers=list(workers), where=where))
    assert isinstance(reason, NoWorker)
    return reason


def test_no_worker_is_registered() -> None:
    reason = nobody(where="sqlite:///x")
    assert (reason.cause, reason.workers) == ("none", ())
    assert "No worker is registered on sqlite:///x: start one that declares 'mail'" in reason.text


def test_workers_of_other_lanes_are_named_if_they_look_alike() -> None:
    reason = nobody(worker(lanes=["Mail", "mails", "video"], types=["video"]))
    assert (reason.cause, reason.near) == ("lane", ("Mail", "mails"))
    assert "of like name they serve Mail, mails" in reason.text
    assert reason.type_served is False


def test_a_type_whose_lane_was_changed_is_told_apart() -> None:
    reason = nobody(worker(lanes=["fast"]))
    assert (reason.cause, reason.type_served) == ("lane", True)
    assert "its type 'mail' is served in another one" in reason.text


def test_a_lane_whose_workers_have_another_type() -> None:
    reason = nobody(worker(types=["mials"]))
    assert (reason.cause, reason.near, reason.workers) == ("type", ("mials",), ("w~1",))
    assert "have no handler for the type 'mail'" in reason.text


def test_a_worker_that_tells_no_types_is_believed_to_have_this_one() -> None:
    assert codes(evidence(info(), workers=[worker(types=[])])) == ["ready"]


def test_quiet_and_stopping_workers_lease_nothing() -> None:
    reason = nobody(worker("a", quiet=True), worker("b", stop=True), worker("c", lanes=["x"]))
    assert (reason.cause, reason.workers) == ("quiet", ("a", "b"))
    assert "quiet or stopping (a, b)" in reason.text
    assert codes(evidence(info(), workers=[worker("a", quiet=True), worker("b")])) == ["ready"]


def test_dead_workers_are_told_by_the_last_of_them() -> None:
    dead = [worker("a", alive=False, seen_ago=90.0), worker("b", alive=False, seen_ago=20.0)]
    reason = nobody(*dead, worker("c", lanes=["mails"], types=["other"]))
    assert (reason.cause, reason.workers, reason.seen_ago) == ("dead", ("b",), 20.0)
    assert "the last one that did, b, was heard of 20 s ago and counts as dead" in reason.text
    other = worker("a", alive=False, lanes=["x"])
    assert nobody(other).cause == "none"


def test_all_slots_in_use() -> None:
    found = evidence(info(), workers=[worker("a", running=10), worker("b", slots=4, running=6)])
    assert reasons(found) == [Busy(slots=14, running=16, workers=("a", "b"))]
    assert "All 14 slots of the 2 workers that serve it are in use (a, b)" in first(found).text
    found.workers = [worker("a", running=10), worker("b", running=10, lanes=["x"]), worker("c")]
    assert codes(found) == ["ready"]


def test_slots_that_are_not_told_are_not_said_to_be_in_use() -> None:
    found = evidence(info(), workers=[worker(slots=0, running=0)])
    assert reasons(found) == [Ready(workers=("w~1",), free=None)]


# -- the past ------------------------------------------------------------------------------------


def test_a_task_handed_back_says_by_whom_and_how_often() -> None:
    back = [attempt("lost"), attempt("handback", "type"), attempt("handback", "type", "w~2")]
    waits = info(State.SCHEDULED, due_at=NOW + 2, reason="type", history=back)
    found = evidence(waits, workers=[worker(types=["x"])])
    assert codes(found) == ["due", "no_worker", "handed_back"]
    due, _, handed = reasons(found)
    assert isinstance(due, Due)
    assert due.after == "unable"
    assert handed == HandedBack(reason="type", times=2, worker="w~2", at=NOW - 5, type="mail")
    assert "2 times in a row: it has no handler for the type 'mail'" in handed.text


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("version", "written by a newer version of XQueue"),
        ("no thread", "raise its limits or lower `threads`"),
        ("limits", "see that its semaphore works"),
        ("alone", "must run alone"),
        ("{odd}", "the reason given is '{odd}'"),
    ],
)
def test_the_words_of_workers_are_explained(reason: str, text: str) -> None:
    waits = info(reason=reason, history=[attempt("handback", reason)])
    found = reasons(evidence(waits))
    assert [one.code for one in found] == ["ready", "handed_back"]
    assert text in found[1].text


def test_a_hand_back_of_an_earlier_life_is_not_told() -> None:
    replayed = info(replays=1, reason="", history=[attempt("handback", "type")])
    assert codes(evidence(replayed)) == ["ready"]
    retried = info(reason="type", history=[attempt("handback", "type"), attempt("lost")])
    assert codes(evidence(retried)) == ["ready"]


def test_losses_are_told_and_the_last_but_one_isolates() -> None:
    once = info(losses=1, history=[attempt("lost", worker="dead~1")])
    found = reasons(evidence(once))
    assert [one.code for one in found] == ["ready", "worker_lost"]
    assert found[1] == Lost(losses=1, most=3, worker="dead~1", at=NOW - 5)
    assert "the loss number 3 ends it as failed" in found[1].text
    twice = first(evidence(info(losses=2)))
    assert twice == Lost(losses=2, most=3, alone=True)
    assert "2 workers died while running it, so it waits until a worker can run it alone" in (
        twice.text
    )
