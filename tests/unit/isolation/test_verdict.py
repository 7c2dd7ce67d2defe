"""What is settled for a task whose child has ended."""

from __future__ import annotations

from typing import Any

import pytest

from unit.worker.parts import make_job
from xqueue_core import RetryPolicy
from xqueue_core.task import Canceled, Failed, Failure, HandBack, RetryAt, Success
from xqueue_core.worker.isolation.process import how
from xqueue_core.worker.isolation.verdict import End, outcome_of
from xqueue_core.worker.job import Job, Stage, Told


@pytest.fixture
def job() -> Job:
    return make_job("a", "isolated")


def verdict(job: Job, **fields: Any) -> Any:
    return outcome_of(End(job, **fields), lambda: 0.5)


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
    assert verdict(job, code=-9) == HandBack(reason="no child")


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
