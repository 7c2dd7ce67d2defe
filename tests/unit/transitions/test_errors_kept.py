"""What the history keeps of the error of each attempt."""

from __future__ import annotations

import pytest

from xqueue_core.calls import Settle
from xqueue_core.commands import Accept, Lease
from xqueue_core.envelope import encode_task
from xqueue_core.task import BRIEF, AnyOutcome, Failed, Failure, RetryAt, Success, Task
from xqueue_core.transitions import apply


@pytest.mark.parametrize(
    ("failure", "brief"),
    [
        (Failure("exception", "builtins.ValueError", "a\n  b"), "ValueError: a b"),
        (Failure("exception", "shop.Closed"), "shop.Closed"),
        (Failure("process_timeout", message="took too long"), "took too long"),
        (Failure("limits"), ""),
        (Failure("exception", "E", "x" * 10_000), "E: " + "x" * (BRIEF - 4) + "…"),
    ],
)
def test_an_error_in_short_is_one_line(failure: Failure, brief: str) -> None:
    assert failure.brief == brief
    assert len(brief) <= BRIEF


def test_each_attempt_keeps_its_own_error_whatever_follows() -> None:
    task = Task(id="job:1", lane="job", max_retry=5)
    record = apply(None, Accept(encode_task(task)), 1.0).record
    outcomes: list[AnyOutcome] = [
        RetryAt(0.0, Failure("exception", "E", "first")),
        RetryAt(0.0, Failure("exception", "E", "second")),
        Success(),
    ]
    for call, outcome in enumerate(outcomes, 1):
        record = apply(record, Lease("w", call, 0), 2.0).record
        assert record is not None
        record = apply(record, Settle(task.id, record.delivery, outcome), 3.0).record
    assert record is not None
    assert record.failure is None
    assert [one.error for one in record.history] == ["E: first", "E: second", ""]


def test_the_last_attempt_keeps_it_too() -> None:
    task = Task(id="job:1", lane="job")
    record = apply(None, Accept(encode_task(task)), 1.0).record
    record = apply(record, Lease("w", 1, 0), 2.0).record
    assert record is not None
    failed = Failed(Failure("rejected", "E", "no"))
    record = apply(record, Settle(task.id, record.delivery, failed), 3.0).record
    assert record is not None
    assert record.history[-1].error == "E: no"
