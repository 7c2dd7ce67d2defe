"""The checker on ends: planted defects are found, clean histories are left alone."""

from __future__ import annotations

import pytest

from support.history import events as e
from support.history.tale import Tale

# -- lost and phantom ----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["ok", "duplicate"])
def test_an_accepted_task_that_is_nowhere(answer: str) -> None:
    assert Tale().submitted("a", answer=answer).broken() == {"lost"}


@pytest.mark.parametrize("state", ["pending", "scheduled", "processing"])
def test_an_accepted_task_that_never_ended(state: str) -> None:
    assert Tale().submitted("a").found("a", state).broken() == {"lost"}


@pytest.mark.parametrize("state", ["failed", "canceled", "timeout"])
def test_any_final_state_is_an_end(state: str) -> None:
    assert "lost" not in Tale().submitted("a").found("a", state).broken()


def test_an_unknown_submit_is_nowhere_or_ends() -> None:
    assert Tale().submitted("a", answer="unknown").broken() == set()
    tale = Tale().submitted("a", answer="unknown").ran("a", 2.0, 3.0)
    assert tale.found("a").broken() == set()
    assert Tale().submitted("a", answer="unknown").found("a", "pending").broken() == {"lost"}


def test_what_was_submitted_again_after_an_unknown_answer_must_end() -> None:
    tale = Tale().submitted("a", answer="unknown").submitted("a", 2.0, answer="ok")
    assert tale.broken() == {"lost"}


def test_what_runs_or_is_known_without_a_submit() -> None:
    assert Tale().ran("a", 2.0, 3.0).broken() == {"phantom"}
    assert Tale().found("a", "failed").broken() == {"phantom"}
    refused = Tale().submitted("a", answer="refused")
    assert refused.broken() == set()
    assert refused.found("a", "failed").broken() == {"phantom"}


def test_a_success_that_nobody_returned() -> None:
    assert Tale().submitted("a").found("a").broken() == {"phantom"}
    raised = Tale().submitted("a").started("a", 2.0).ended("a", 3.0, how="raised")
    assert raised.found("a").broken() == {"phantom"}


def test_a_success_recorded_for_a_delivery_that_did_not_return() -> None:
    """The stale worker's late return must not be what is recorded, nor the other way round."""
    tale = Tale().submitted("a").ran("a", 2.0, 9.0).stopped("w1", 2.1, 8.0)
    tale.started("a", 6.0, "w2", token=2).ended("a", 6.5, 2, "raised")
    tale.found("a", history=[e.Delivered(1, 1, "w1", "lost"), e.Delivered(2, 1, "w2", "success")])
    assert tale.broken() == {"phantom"}


def test_two_successes_without_a_replay() -> None:
    said = [e.Delivered(1, 1, "w1", "success"), e.Delivered(2, 1, "w2", "success")]
    tale = Tale().submitted("a").ran("a", 2.0, 3.0).killed("w1", 3.1)
    tale.ran("a", 5.0, 6.0, "w2", token=2).found("a", history=said)
    assert tale.broken() == {"phantom"}
    tale = Tale().submitted("a").ran("a", 2.0, 3.0).add(e.ReplayAsked(at=4.0, id="a"))
    assert tale.ran("a", 5.0, 6.0, "w2", token=2).found("a", history=said).broken() == set()


# -- conserved -----------------------------------------------------------------------------------


def counted(**ledger: int) -> bool:
    tale = Tale().whole("a").submitted("b", answer="unknown")
    tale.add(e.Ledger(at=99.0, **{"accepted": 1, "live": 0, "final": 1, **ledger}))
    return tale.report()["conserved"].ok


def test_a_ledger_that_agrees() -> None:
    assert counted()


@pytest.mark.parametrize(
    "ledger",
    [
        {"final": 2},  # does not balance
        {"accepted": 0, "final": 0},  # balances, and one is missing
        {"accepted": 3, "final": 3},  # balances, and one too many
        {"accepted": 2, "live": 1},  # balances, and none was found alive
        {"accepted": 2, "final": 2},  # balances, and one was found
    ],
)
def test_a_ledger_that_does_not(ledger: dict[str, int]) -> None:
    assert not counted(**ledger)


def test_no_ledger_at_all() -> None:
    assert not Tale().whole("a").report()["conserved"].ok
