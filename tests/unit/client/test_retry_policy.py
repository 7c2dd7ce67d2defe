"""The retry policy, and the orders a handler may raise."""

from __future__ import annotations

from typing import Any

import pytest

from xqueue_core.errors import ConfigError
from xqueue_core.handlers import Reject, Retry, RetryPolicy


def test_the_bound_doubles_up_to_the_cap() -> None:
    policy = RetryPolicy()
    bounds = [policy.delay(attempt, lambda: 1.0) for attempt in (1, 2, 3, 10, 11, 12)]
    assert bounds == [1.0, 2.0, 4.0, 512.0, 600.0, 600.0]


def test_the_jitter_is_full() -> None:
    policy = RetryPolicy(base=10, factor=3, cap=50)
    assert policy.delay(1, lambda: 0.0) == 0.0
    assert policy.delay(2, lambda: 0.25) == 7.5


def test_a_late_attempt_does_not_overflow() -> None:
    assert RetryPolicy().delay(1_000_000, lambda: 1.0) == 600.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"base": -1}, "base must be finite and 0 or more"),
        ({"cap": float("inf")}, "cap must be finite"),
        ({"factor": 0.5}, "factor must be 1 or more"),
        ({"base": "1"}, "base must be a number"),
        ({"no_retry": (1,)}, "tuple of exceptions"),
        ({"no_retry": ("ValueError",)}, "tuple of exceptions"),
    ],
)
def test_a_wrong_policy_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RetryPolicy(**arguments)


def test_retry_carries_delay_and_reason() -> None:
    assert (Retry().delay, Retry().reason) == (None, "")
    order = Retry(5, "busy")
    assert (order.delay, order.reason, str(order)) == (5.0, "busy", "busy")
    with pytest.raises(ConfigError, match="Retry's delay must be finite"):
        Retry(-1)


def test_reject_carries_its_reason() -> None:
    assert (Reject("spam").reason, str(Reject("spam"))) == ("spam", "spam")
