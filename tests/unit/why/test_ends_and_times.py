"""Reasons in the task itself: its end, its time; and that nothing is known of it."""

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
    limit,
    worker,
)
from xqueue_core.task import Failure, State
from xqueue_core.views import Stats
from xqueue_core.why import (
    Due,
    Duplicate,
    Ended,
    Expiring,
    Fault,
    Paused,
    Quarantined,
    Ready,
    Unknown,
    reasons,
)

# -- the end, and nothing at all -----------------------------------------------------------------


def test_nothing_stands_in_the_way() -> None:
    found = evidence(info())
    assert reasons(found) == [Ready(workers=("w~1",), free=1)]
    assert "1 living worker would take it, with 1 free slot" in first(found).text


@pytest.mark.parametrize(
    ("state", "more", "text"),
    [
        (State.SUCCESS, {}, "it ended in success at 1970-01-12 13:46:30 UTC, 10 s ago."),
        (
            State.FAILED,
            {"failure": Failure("exception", "builtins.KeyError", "'k'"), "reason": "exception"},
            "It ended as failed at 1970-01-12 13:46:30 UTC, 10 s ago: KeyError: 'k'; replay it",
        ),
        (State.FAILED, {"reason": "worker_lost"}, "10 s ago: worker_lost; replay it"),
        (State.CANCELED, {"reason": "not needed"}, "It ended as canceled at"),
        (State.TIMEOUT, {"reason": "queue_timeout"}, "It waited longer than its queue_timeout"),
        (State.TIMEOUT, {"reason": "process_timeout"}, "ended as timeout at"),
    ],
)
def test_an_end_is_told_with_its_reason(state: State, more: dict[str, Any], text: str) -> None:
    found = evidence(info(state, finished_at=NOW - 10, **more), paused=True, workers=[])
    [reason] = reasons(found)
    assert isinstance(reason, Ended)
    assert (reason.state, reason.ago) == (state, 10.0)
    assert text in reason.text


def test_an_unknown_task_of_a_known_type_is_gone_or_never_was() -> None:
    [reason] = reasons(evidence(None, where="redis://h"))
    assert reason == Unknown(id="mail:1", type="mail", known=True, where="redis://h")
    assert "No task mail:1 is known on redis://h: it was never accepted" in reason.text
    assert "its record is no longer kept" in reason.text


def test_an_unknown_type_names_those_like_it() -> None:
    found = evidence(None)
    found.id = "mial:1"
    [reason] = reasons(found)
    assert isinstance(reason, Unknown)
    assert (reason.known, reason.near) == (False, ("mail",))
    assert "nor its type 'mial' (like it: mail)" in reason.text
    found.stats = Stats()
    assert "nor its type 'mial': compare the id, the broker" in first(found).text


def test_a_duplicate_is_said_before_what_is_about_the_other() -> None:
    found = evidence(info(), paused=True, asked="mail:0")
    assert codes(found) == ["duplicate", "lane_paused"]
    assert first(found) == Duplicate(id="mail:0", of="mail:1")


def test_quarantine_and_moves_stand_alone() -> None:
    found = evidence(info(quarantined=True, reason="no MessagePack"), paused=True)
    assert reasons(found) == [Quarantined(why="no MessagePack")]
    assert "cannot be decoded (no MessagePack)" in first(found).text
    assert codes(evidence(info(State.MOVING))) == ["moving"]
    assert "has moved" in first(evidence(info(State.MOVED))).text


# -- time ----------------------------------------------------------------------------------------


def test_a_delay_that_is_not_over() -> None:
    found = evidence(info(State.SCHEDULED, due_at=NOW + 90))
    assert reasons(found) == [Due(due_at=NOW + 90, due_in=90.0)]
    assert "It was given a delay, and it is due at" in first(found).text
    assert "in 1 min 30 s" in first(found).text


def test_a_retry_tells_which_failure_it_follows() -> None:
    failure = Failure("exception", "builtins.ValueError", "no")
    found = evidence(
        info(
            State.SCHEDULED,
            due_at=NOW + 4,
            attempt=2,
            failure=failure,
            history=[attempt("retry", "exception")],
        )
    )
    [reason] = reasons(found)
    assert isinstance(reason, Due)
    assert (reason.after, reason.attempt, reason.attempts) == ("retry", 2, 4)
    assert reason.fault == Fault(reason="exception", type="builtins.ValueError", message="no")
    assert reason.text.startswith("Attempt 2 of 4 failed (ValueError: no), and it is due at")


def test_a_replay_with_a_delay_has_no_failure_behind_it() -> None:
    replayed = info(
        State.SCHEDULED, due_at=NOW + 4, attempt=0, replays=1, history=[attempt("retry")]
    )
    reason = first(evidence(replayed))
    assert isinstance(reason, Due)
    assert (reason.after, reason.fault) == ("delay", None)


def test_what_is_due_and_not_noticed_needs_a_worker() -> None:
    found = evidence(info(State.SCHEDULED, due_at=NOW - 30), workers=[])
    assert codes(found) == ["due", "no_worker"]
    assert "it has been due since" in first(found).text
    assert "for 30 s" in first(found).text


def test_of_what_is_due_later_only_lasting_reasons_are_told() -> None:
    found = evidence(
        info(State.SCHEDULED, due_at=NOW + 3600),
        paused=True,
        workers=[worker(running=10)],
        lane_limit=limit(LANE, 1, "w~1"),
    )
    assert codes(found) == ["due", "lane_paused"]
    found.info = info(State.SCHEDULED, due_at=NOW + 1)
    assert codes(found) == ["due", "lane_paused", "lane_limit", "slots_busy"]


def test_a_task_that_expires_says_when() -> None:
    found = evidence(info(options={"queue_timeout": 60.0}, expires_at=NOW + 50), paused=True)
    assert reasons(found) == [
        Paused(lane=LANE),
        Expiring(expires_at=NOW + 50, expires_in=50.0, stands=True),
    ]
    assert "does not become less while the lane is paused" in reasons(found)[1].text
    running = evidence(info(options={"queue_timeout": 60.0}, expires_at=NOW + 50))
    assert codes(running) == ["ready", "expiring"]
    assert "in 50 s, at" in reasons(running)[1].text


def test_a_task_that_waited_too_long_is_told_first() -> None:
    found = evidence(
        info(options={"queue_timeout": 5.0}, expires_at=NOW - 5), workers=[], pending=9
    )
    assert codes(found) == ["expiring", "no_worker"]
    assert "ran out 5 s ago" in first(found).text


def test_where_the_time_is_not_told_it_is_reckoned_and_called_so() -> None:
    found = evidence(info(options={"queue_timeout": 60.0}))
    expiring = reasons(found)[1]
    assert expiring == Expiring(expires_at=NOW + 50, expires_in=50.0, exact=False)
    assert "in about 50 s" in expiring.text
