"""What the worker's log says of tasks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from support.apps import make_app
from unit.worker.parts import make_job
from unit.worker.test_executor import Executing, virtually
from xqueue_core import Reject, Retry, RetryPolicy
from xqueue_core.task import Failed, Failure, RetryAt
from xqueue_core.worker import report

LOG = "xqueue.worker"


def _run(attempt: int, error: BaseException | None, result: Any = None, **fields: Any) -> None:
    async def main() -> None:
        app = make_app()

        @app.task(retry=RetryPolicy(no_retry=(ZeroDivisionError,)))
        async def job() -> Any:
            if error is not None:
                raise error
            await asyncio.sleep(2)
            return result

        one = Executing(app)
        one.start("job", attempt=attempt, max_retry=3, **fields)
        await one.until_ended(1)

    virtually(main)


def test_an_attempt_that_took_too_long_is_not_called_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _run(4, None, process_timeout=1.0)
    [said] = [one.getMessage() for one in caplog.records if one.name == LOG]
    assert said == "job:1 timed out, attempt 4 of 4: ran longer than 1 second; no attempt is left"


@pytest.mark.parametrize(
    ("attempt", "error", "expected"),
    [
        (2, KeyError("k"), "job:1 failed, attempt 2 of 4: KeyError: 'k'; next try in "),
        (4, KeyError("k"), "job:1 failed, attempt 4 of 4: KeyError: 'k'; no attempt is left"),
        (
            1,
            ZeroDivisionError("by 0"),
            "job:1 failed, attempt 1 of 4: ZeroDivisionError: by 0; "
            "it is not tried again (exception)",
        ),
        (
            1,
            Reject("not ours"),
            "job:1 failed, attempt 1 of 4: Reject: not ours; it is not tried again (rejected)",
        ),
    ],
)
def test_a_failing_task_is_logged_with_its_traceback(
    attempt: int, error: Exception, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    _run(attempt, error)
    (record,) = caplog.records
    assert (record.name, record.levelname) == (LOG, "WARNING")
    assert record.getMessage().startswith(expected)
    assert "raise error" in caplog.text
    assert "Traceback" in caplog.text


def test_time_outs_and_results_that_cannot_be_kept_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _run(1, None, process_timeout=1.0)
    _run(1, None, result=object())
    late, odd = (record.getMessage() for record in caplog.records)
    assert "attempt 1 of 4: ran longer than 1 second; next try in" in late
    assert "it is not tried again (result)" in odd


def test_a_retry_that_was_asked_for_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    _run(1, Retry(delay=30, reason="not there yet"))
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().endswith("next try in 30.0 s")
    assert record.exc_info is None
    caplog.clear()
    _run(4, Retry(delay=30))
    assert [one.levelname for one in caplog.records] == ["WARNING"]


def test_starts_and_ends_are_logged_if_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    _run(1, None)
    assert not caplog.records
    caplog.set_level(logging.DEBUG, LOG)
    _run(1, None)
    assert [record.getMessage() for record in caplog.records] == [
        "job:1 starts, attempt 1 of 4",
        "job:1 ended: success",
    ]


def test_a_log_that_fails_does_not_keep_a_task_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit(3)

    monkeypatch.setattr(logging.getLogger(LOG), "handlers", [Broken()])
    _run(1, KeyError("k"))


def test_a_canceled_task_is_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    job = make_job()
    job.canceled = True
    report.failure(job, RetryAt(1.0, Failure("exception", "E", "m")))
    report.failure(job, Failed(Failure("worker_lost")))
    first, second = (record.getMessage() for record in caplog.records)
    assert first.endswith("E: m; it was canceled")
    assert "worker_lost; " in second


def test_a_filter_that_raises_keeps_no_task_from_its_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("this filter is broken")

    broken = Broken()
    logger = logging.getLogger(LOG)
    caplog.set_level(logging.DEBUG, LOG)
    logger.addFilter(broken)
    try:
        _run(1, None)
    finally:
        logger.removeFilter(broken)
