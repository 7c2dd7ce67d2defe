"""Reasons of what a worker has, several at once, and what is not known."""

from __future__ import annotations

from typing import Any

from support.evidence import (
    NOW,
    attempt,
    codes,
    evidence,
    first,
    info,
    limit,
    worker,
)
from xqueue_core.task import Progress, State
from xqueue_core.why import (
    Ahead,
    CannotTell,
    Fetched,
    Overdue,
    Processing,
    Silent,
    reasons,
)

# -- what a worker has ---------------------------------------------------------------------------


def leased(**more: Any) -> Any:
    """The task in a worker's hands for half a minute."""
    fields = {"worker": "w~1", "started_at": NOW - 30, "attempt": 1, **more}
    return info(State.PROCESSING, **fields)


def test_a_task_that_runs_says_where_and_since_when() -> None:
    found = evidence(leased(progress=Progress(50.0, message="halfway")), paused=True)
    assert reasons(found) == [
        Processing(
            worker="w~1",
            since_at=NOW - 30,
            seconds=30.0,
            attempt=1,
            attempts=4,
            progress="50 %, halfway",
        )
    ]
    assert "attempt 1 of 4; it last reported: 50 %, halfway" in first(found).text
    counted = evidence(leased(progress=Progress(None, 3, 7)))
    assert "it last reported: 3 of 7:" in first(counted).text


def test_a_task_of_a_worker_that_stops() -> None:
    for one in (worker(draining=True), worker(stop=True)):
        [found] = reasons(evidence(leased(), workers=[one]))
        assert isinstance(found, Processing)
        assert found.stopping
        assert "that worker is stopping" in found.text
    [found] = reasons(evidence(leased(), workers=[worker()]))
    assert "stopping" not in found.text


def test_a_task_that_outlives_its_time_out() -> None:
    late = leased(options={"process_timeout": 10.0})
    found = evidence(late)
    assert codes(found) == ["overdue", "processing"]
    assert first(found) == Overdue(worker="w~1", timeout=10.0, over=20.0)
    assert "for 20 s longer than its process_timeout of 10 s" in first(found).text
    found.workers = [worker(overdue=["mail:1"])]
    assert "is about to" not in str(reasons(found)[1].text)
    assert "cannot be stopped" in first(found).text
    found.info.task.process_timeout = 60.0  # by the worker's clock it is over all the same
    assert first(found) == Overdue(worker="w~1", timeout=60.0, over=0.0, stuck=True)
    endless = evidence(leased(options={"process_timeout": None}))
    assert codes(endless) == ["processing"]


def test_a_worker_that_was_not_heard_of() -> None:
    found = evidence(leased(), workers=[worker(seen_ago=6.0)])
    assert codes(found) == ["worker_silent", "processing"]
    assert first(found) == Silent(worker="w~1", seen_ago=6.0, lost_in=9.0, living=0)
    assert "last heard of 6 s ago: it counts as lost in 9 s" in first(found).text
    found.workers = [worker(seen_ago=2.9)]
    assert codes(found) == ["processing"]


def test_a_worker_that_counts_as_lost() -> None:
    dead = worker(alive=False, seen_ago=20.0)
    found = evidence(leased(), workers=[dead])
    assert "no worker lives to take the task up" in first(found).text
    found.workers = [dead, worker("w~2")]
    assert first(found) == Silent(worker="w~1", seen_ago=20.0, living=1)
    assert "take the task up within a few seconds" in first(found).text
    found.workers = [worker("w~2")]
    assert "is not registered any more" in first(found).text


def test_a_cancel_that_is_not_obeyed_yet() -> None:
    found = evidence(leased(cancel_requested=True))
    assert codes(found) == ["cancel_requested", "processing"]
    assert "the worker w~1 is told with its next heartbeat" in first(found).text


def test_a_task_fetched_ahead_says_that_it_may_wait_there() -> None:
    found = evidence(leased(), held=12, workers=[worker(running=10)])
    assert codes(found) == ["processing", "fetched"]
    assert reasons(found)[1] == Fetched(worker="w~1", holds=12, running=10, slots=10)
    assert "w~1 has 12 tasks and runs 10 of them, by its last heartbeat" in reasons(found)[1].text
    assert "wait there for a slot:" in reasons(found)[1].text
    found.lane_limit = limit("lane:mail", 1, "w~1")
    assert codes(found) == ["processing", "fetched", "lane_limit"]
    idle = evidence(leased(), held=12)
    assert "for a permit, a thread or a child process:" in reasons(idle)[1].text
    found.held = 10
    assert codes(found) == ["processing"]


def test_a_running_suspect_says_so() -> None:
    assert codes(evidence(leased(losses=2))) == ["processing", "worker_lost"]


def test_everything_at_once_about_a_running_task() -> None:
    found = evidence(
        leased(options={"process_timeout": 1.0}, cancel_requested=True, losses=1),
        workers=[worker(seen_ago=7.0)],
    )
    assert codes(found) == [
        "worker_silent",
        "cancel_requested",
        "overdue",
        "processing",
        "worker_lost",
    ]


# -- several, and what is not known --------------------------------------------------------------


def test_everything_at_once_about_a_waiting_task() -> None:
    found = evidence(
        info(
            options={"key": "k", "queue_timeout": 60.0},
            expires_at=NOW + 50,
            reason="alone",
            losses=2,
            history=[attempt("lost"), attempt("handback", "alone")],
        ),
        paused=True,
        pending=9,
        workers=[worker(running=10)],
        lane_limit=limit("lane:mail", 1, "w~1"),
        key_limit=limit("key:mail:k", 1, "w~1"),
        ahead=Ahead(count=3),
    )
    assert codes(found) == [
        "lane_paused",
        "handed_back",
        "worker_lost",
        "lane_limit",
        "slots_busy",
        "key_limit",
        "behind",
        "expiring",
    ]


def test_what_cannot_be_known_is_said_and_readiness_is_not_claimed() -> None:
    untold = CannotTell(what="limits", why="this connection has no semaphore")
    found = evidence(info(), lane_limit=None, untold=[untold])
    assert reasons(found) == [untold]
    assert "Whether a limit of its lane or key holds it back" in untold.text
    assert codes(evidence(info(), paused=True, untold=[untold])) == ["lane_paused", "cannot_tell"]


def test_a_broker_without_a_view_says_only_that() -> None:
    untold = CannotTell(what="task", why="this broker cannot be asked")
    found = evidence(None, stats=None, workers=None, untold=[untold])
    assert reasons(found) == [untold]


def test_workers_that_cannot_be_asked_for_are_not_called_dead() -> None:
    untold = CannotTell(what="workers", why="no")
    assert codes(evidence(info(), workers=None, untold=[untold])) == ["cannot_tell"]
    assert codes(evidence(leased(), workers=None, untold=[untold])) == ["processing", "cannot_tell"]


def test_a_key_whose_holders_cannot_be_asked_for() -> None:
    parked = info(options={"key": "k"}, waiting_for="key:k")
    untold = CannotTell(what="limits", why="no")
    found = evidence(parked, lane_limit=None, line=2, untold=[untold])
    assert codes(found) == ["key_limit", "cannot_tell"]
    assert "it is one of 2 in the line of the key 'k', and who holds the key cannot be told" in (
        first(found).text
    )
