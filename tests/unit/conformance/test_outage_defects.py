"""The kit finds a broker on which time in which nobody could renew counts against the silent."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from unit.conformance.broken import BrokenHarness
from xqueue_core.conformance import run
from xqueue_core.stored import holding
from xqueue_core.stored.layout import Mark, WorkerRow
from xqueue_core.stored.leases import RenewalMark
from xqueue_core.stored.records import Now


def test_a_queue_without_grace_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(mark: Mark | None, workers: Sequence[WorkerRow], now: Now) -> bool:
        return mark is not None and mark.epoch == now.epoch

    monkeypatch.setattr(holding, "_trusted", hasty)
    result = run(BrokenHarness(), only=["P1.4a"]).results["P1.4a"]
    assert not result.passed
    assert "is told" in result.message


def test_a_semaphore_without_grace_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RenewalMark, "judges", lambda self, now: True)
    result = run(BrokenHarness(), only=["P1.4c"]).results["P1.4c"]
    assert not result.passed
    assert "answer" in result.message
