"""What is settled for a task whose child has ended."""

from __future__ import annotations

from typing import Any

import pytest

from support.fake_queue import delivery
from unit.worker.parts import make_job
from xqueue_core import RetryPolicy
from xqueue_core.task import Canceled, Failed, Failure, HandBack, RetryAt, Success
from xqueue_core.worker.isolation.process import how
from xqueue_core.worker.isolation.verdict import DEATHS, REMEMBERED, Deaths, End, outcome_of
from xqueue_core.worker.job import Job, Stage, Told


@pytest.fixture
def job() -> Job:
    return make_job("a", "isolated")


def verdict(job: Job, deaths: int = 1, **fields: Any) -> Any:
    return outcome_of(End(job, **fields), lambda: 0.5, deaths)


BROKEN = RetryAt(1.0, Failure("exception"))


def test_what_the_child_said_stands(job: Job) -> None:
    assert verdict(job, outcome=Success(b"1"), began=True) == Success(b"1")
    assert verdict(job, outcome=BROKEN, began=True) == BROKEN


@pytest.mark.parametrize("why", [Told.TIMEOUT, Told.STOP, Told.CANCEL])
def test_success_stands_whatever_the_job_was_told_and_a_failure_does_not(
    job: Job, why: Told
) -> None:
    assert verdict(job, outcome=Success(b"1"), why=why, began=True) == Success(b"1")
    assert verdict(job, outcome=BROKEN, why=why, began=True) != BROKEN


def test_why_it_was_killed_decides(job: Job) -> None:
    late = verdict(job, why=Told.TIMEOUT, began=True, code=-9)
    assert (type(late), late.timed_out, late.delay) == (RetryAt, True, 0.5)
    assert (late.failure.reason, late.failure.message) == (
        "process_timeout",
        "ran longer than 60 seconds",
    )
    assert verdict(job, why=Told.CANCEL, began=True, code=-9) == Canceled()
    assert verdict(job, why=Told.STOP, began=True, code=-9) == HandBack(ran=True, reason="stop")
    assert verdict(job, why=Told.LOST, began=True, code=-9) is None


def test_what_no_child_was_given_has_not_run(job: Job) -> None:
    for why in (Told.TIMEOUT, Told.STOP, Told.NOTHING):
        outcome = verdict(job, why=why, sent=False)
        assert (type(outcome), outcome.ran) == (HandBack, False)
    assert verdict(job, why=Told.CANCEL, sent=False) == Canceled()


def test_a_child_that_died_before_it_began_costs_no_attempt(job: Job) -> None:
    outcome = verdict(job, code=-9)
    assert (type(outcome), outcome.ran) == (HandBack, False)
    assert outcome.unable == "no child"  # so that it waits, ever longer
    assert "killed by SIGKILL" in outcome.reason
    assert outcome.reason.endswith("before the task began")


def test_one_with_which_children_die_again_and_again_has_failed(job: Job) -> None:
    assert verdict(job, deaths=DEATHS - 1, code=3).unable == "no child"
    crash = verdict(job, deaths=DEATHS, code=3)
    assert crash == RetryAt(
        0.5,
        Failure("crashed", message="the child process exited with code 3 before the task began"),
    )


def test_deaths_in_a_row_are_counted_for_each_task(job: Job) -> None:
    deaths, other = Deaths(), make_job("b", "isolated")
    died, began = End(job, code=-9), End(job, began=True, code=-9)
    assert [deaths.count(died), deaths.count(End(other)), deaths.count(died)] == [1, 1, 2]
    assert deaths.count(began) == 0
    assert deaths.count(died) == 1
    assert deaths.count(End(job, sent=False)) == 0
    assert deaths.count(End(job, why=Told.CANCEL)) == 0
    assert [deaths.count(died) for _ in range(4)] == [1, 2, 3, 1]


def test_deaths_are_not_remembered_of_any_number_of_tasks(job: Job) -> None:
    deaths = Deaths()
    for n in range(REMEMBERED + 1):
        deaths.count(End(Job(delivery(str(n), "isolated"), job.spec)))
    assert len(deaths._times) == REMEMBERED


def test_a_job_that_was_given_up_is_settled_by_nobody(job: Job) -> None:
    job.stage = Stage.ENDED
    assert verdict(job, outcome=Success(), began=True) is None


def test_a_crash_is_a_failed_attempt(job: Job) -> None:
    crash = verdict(job, began=True, code=-11)
    assert crash == RetryAt(
        0.5, Failure("crashed", message="the child process was killed by SIGSEGV")
    )


def test_a_retry_policy_that_fails_ends_the_task(job: Job) -> None:
    class Bad(RetryPolicy):
        def delay(self, attempt: int, random: Any) -> float:
            raise LookupError("no delay")

    job.spec.retry = Bad()
    outcome = verdict(job, began=True, code=1)
    assert isinstance(outcome, Failed)
    assert "exited with code 1; its retry policy failed: LookupError" in outcome.failure.message


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exited with code 0"),
        (9, "exited with code 9"),
        (-6, "was killed by SIGABRT"),
        (-9, "was killed by SIGKILL (not by this worker: was it out of memory?)"),
        (-200, "was killed by signal 200"),
    ],
)
def test_how_a_process_ended(code: int, words: str) -> None:
    assert how(code) == words
