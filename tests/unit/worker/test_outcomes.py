"""How an end of a handler becomes an outcome."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from support.apps import make_app
from support.fake_queue import delivery
from xqueue_core import InvalidTask, Reject, Retry, RetryPolicy
from xqueue_core.task import (
    MAJOR,
    AnyOutcome,
    Canceled,
    Failed,
    HandBack,
    RetryAt,
    Success,
)
from xqueue_core.worker.job import Job, Told
from xqueue_core.worker.outcomes import (
    MESSAGE,
    TRACEBACK,
    BadArguments,
    of_error,
    of_unstarted,
    of_value,
    timed_out,
    unable,
)


class Own(Exception):
    """Of a user."""


def half() -> float:
    """Neither early nor late."""
    return 0.5


def job(told: Told = Told.NOTHING, *, plain: bool = False, **fields: Any) -> Job:
    """A job of an async or a plain handler."""
    app = make_app()

    if plain:

        @app.task(name="job", retry=RetryPolicy(base=8, no_retry=(LookupError,)))
        def handler() -> None: ...
    else:

        @app.task(name="job", retry=RetryPolicy(base=8, no_retry=(LookupError,)))
        async def handler() -> None: ...

    made = Job(delivery(**fields), app.handlers["job"])
    made.told = told
    return made


def raised(error: BaseException) -> BaseException:
    """The error with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def test_a_value_is_encoded() -> None:
    assert of_value(job(), None, 100, half) == Success(b"null")
    assert of_value(job(), {"a": [1]}, 100, half) == Success(b'{"a":[1]}')


@pytest.mark.parametrize("value", [object(), "x" * 99, {1: object()}])
def test_a_value_that_cannot_be_kept_is_final(value: object) -> None:
    outcome = of_value(job(), value, 100, half)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.reason, outcome.failure.type) == ("result", "InvalidResult")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Reject("no"), "Reject"),
        (Retry(), "Retry"),
        (InvalidTask("no"), "InvalidTask"),
        (ValueError("no"), "ValueError"),
        (BadArguments("no"), "InvalidTask"),
        (Own("no"), f"{__name__}.Own"),
    ],
)
def test_an_error_has_the_name_by_which_it_is_imported(error: Exception, name: str) -> None:
    outcome = of_error(job(), raised(error), half)
    assert isinstance(outcome, Failed | RetryAt)
    assert outcome.failure is not None
    assert outcome.failure.type == name


def test_reject_and_retry_may_be_raised_bare() -> None:
    def bare(kind: type[Exception]) -> BaseException:
        try:
            raise kind
        except Exception as caught:
            return caught

    rejected = of_error(job(), bare(Reject), half)
    assert isinstance(rejected, Failed)
    assert rejected.failure.reason == "rejected"
    assert rejected.failure.message == "the handler rejected the task"
    again = of_error(job(), bare(Retry), half)
    assert isinstance(again, RetryAt)
    assert again.failure is not None
    assert again.failure.reason == "retry"


@pytest.mark.parametrize("told", list(Told))
def test_a_coroutine_that_returns_has_decided(told: Told) -> None:
    assert of_value(job(told), 1, 100, half) == Success(b"1")


def test_a_plain_function_decides_only_if_it_looked() -> None:
    late = job(Told.TIMEOUT, plain=True)
    outcome = of_value(late, 1, 100, half)
    assert isinstance(outcome, RetryAt)
    assert outcome.timed_out
    late.noticed = True
    assert of_value(late, 1, 100, half) == Success(b"1")
    assert of_value(job(Told.CANCEL, plain=True), 1, 100, half) == Success(b"1")


@pytest.mark.parametrize(
    ("told", "noticed", "outcome"),
    [
        (Told.STOP, True, HandBack(ran=True, reason="stop")),
        (Told.STOP, False, Success(b"1")),  # it has done all its work, unaware
        (Told.CANCEL, True, Success(b"1")),
        (Told.NOTHING, False, Success(b"1")),
    ],
)
def test_a_plain_function_that_returns_early_for_the_worker_is_handed_back(
    told: Told, noticed: bool, outcome: object
) -> None:
    early = job(told, plain=True)
    early.noticed = noticed
    assert of_value(early, 1, 100, half) == outcome


def crooked(delay: Any) -> RetryPolicy:
    """A policy of the user's own, with an odd delay."""

    class Crooked(RetryPolicy):
        def delay(self, attempt: int, random: Callable[[], float]) -> Any:
            return delay

    return Crooked()


@pytest.mark.parametrize("policy", [3, None, *map(crooked, (None, "2", -1, math.nan, math.inf))])
def test_a_policy_that_is_none_ends_the_task(policy: Any, caplog: pytest.LogCaptureFixture) -> None:
    one, late = job(), job(Told.TIMEOUT)
    one.spec.retry = late.spec.retry = policy
    error = raised(ValueError("no"))
    for outcome in (
        of_error(one, error, half),
        of_error(late, error, half),
        timed_out(late, half),
    ):
        assert isinstance(outcome, Failed)
        assert outcome.failure.type in ("AttributeError", "TypeError", "ValueError")
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert "retry policy" in caplog.text


def test_an_exception_is_retried_by_the_policy() -> None:
    outcome = of_error(job(attempt=2), raised(ValueError("no")), half)
    assert isinstance(outcome, RetryAt)
    assert outcome.delay == 8.0
    assert not outcome.timed_out
    assert (outcome.failure.reason, outcome.failure.type) == ("exception", "ValueError")
    assert outcome.failure.message == "no"
    assert "raise error" in outcome.failure.traceback


def test_an_exception_of_the_no_retry_list_is_final() -> None:
    outcome = of_error(job(), raised(KeyError("k")), half)
    assert isinstance(outcome, Failed)
    assert outcome.failure.type == "KeyError"


def test_retry_and_reject() -> None:
    assert of_error(job(), Retry(delay=3), half).delay == 3  # type: ignore[union-attr]
    assert of_error(job(), Retry(), half).delay == 4  # type: ignore[union-attr]
    outcome = of_error(job(), Reject("not ours"), half)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.reason, outcome.failure.message) == ("rejected", "not ours")


def test_arguments_that_do_not_decode_are_final() -> None:
    error = BadArguments("no")
    error.__cause__ = ValueError("at `$.n`")
    outcome = of_error(job(), error, half)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.reason, outcome.failure.message) == ("payload", "at `$.n`")


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (Told.CANCEL, Canceled()),
        (Told.STOP, HandBack(ran=True, reason="stop")),
        (Told.LOST, None),
    ],
)
def test_a_cancellation_that_was_asked_for(told: Told, outcome: object) -> None:
    assert of_error(job(told), asyncio.CancelledError(), half) == outcome


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt()])
def test_what_nobody_asked_for_is_a_failure(error: BaseException) -> None:
    outcome = of_error(job(), raised(error), half)
    assert isinstance(outcome, RetryAt)
    assert outcome.failure.reason == "exception"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("while ending")])
def test_a_time_out(error: BaseException) -> None:
    outcome = of_error(job(Told.TIMEOUT), raised(error), half)
    assert isinstance(outcome, RetryAt)
    assert outcome.timed_out
    assert outcome.failure.reason == "process_timeout"
    assert outcome.failure.traceback
    late = timed_out(job(), half)
    assert isinstance(late, RetryAt)
    assert late.failure.message == "ran longer than 60 seconds"


def test_failures_are_cut() -> None:
    def deep(n: int) -> None:
        if not n:
            raise ValueError("é" * 50_000)
        deep(n - 1)

    with pytest.raises(ValueError) as caught:
        deep(500)
    outcome = of_error(job(), caught.value, half)
    assert isinstance(outcome, RetryAt)
    assert len(outcome.failure.message) == MESSAGE
    assert len(outcome.failure.traceback.encode()) <= TRACEBACK
    assert outcome.failure.traceback.startswith("[...]")


def test_an_exception_that_cannot_be_shown_is_still_a_failure() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    outcome = of_error(job(), raised(Hostile()), half)
    assert isinstance(outcome, RetryAt)
    assert "no message" in outcome.failure.message
    assert outcome.failure.type.endswith("Hostile")


class Exits(Exception):
    """Ends the process of whoever wants to read it."""

    def __str__(self) -> str:
        raise SystemExit(3)


def test_an_exception_whose_text_exits_is_a_failure_like_another() -> None:
    outcome = of_error(job(), raised(Exits()), half)
    assert isinstance(outcome, RetryAt)
    assert outcome.failure.message == "<no message: SystemExit>"


@pytest.mark.parametrize("error", [ValueError, Reject, lambda text: Retry(1, text)])
def test_texts_that_utf8_cannot_hold_are_escaped(error: Callable[[str], Exception]) -> None:
    outcome = of_error(job(), raised(error("caf\udce9 ☕")), half)
    assert isinstance(outcome, RetryAt | Failed)
    assert outcome.failure.message == "caf\\udce9 ☕"
    assert "caf\\udce9 ☕" in outcome.failure.traceback
    record = msgspec.msgpack.encode(outcome)
    assert msgspec.msgpack.decode(record, type=AnyOutcome) == outcome


def test_a_name_that_utf8_cannot_hold_is_escaped() -> None:
    odd = type("Oddé", (Exception,), {"__module__": "m\udce9"})
    outcome = of_error(job(), raised(odd("x" * MESSAGE + "\udce9" * MESSAGE)), half)
    assert isinstance(outcome, RetryAt)
    assert outcome.failure.type == "m\\udce9.Oddé"
    assert len(outcome.failure.message) == MESSAGE


def test_what_this_worker_cannot_run() -> None:
    spec = job().spec
    newer = delivery(major=MAJOR + 1).task
    assert unable(delivery().task, spec) is None
    assert unable(newer, spec).unable == "version"  # type: ignore[union-attr]
    assert unable(delivery().task, None).unable == "type"  # type: ignore[union-attr]


def test_unstarted_jobs() -> None:
    assert of_unstarted(Told.CANCEL) == Canceled()
    assert of_unstarted(Told.LOST) is None
    assert of_unstarted(Told.STOP) == HandBack(reason="stop")
