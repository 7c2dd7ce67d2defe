"""What a case's scenario does with time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import Case
from xqueue_core.conformance.harness import Harness

pytestmark = pytest.mark.anyio


async def test_time_has_passed_though_a_sleep_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some event loops wake up to a millisecond before the time."""
    harness = cast("Harness", SimpleNamespace(time_scale=1.0, traits=frozenset()))
    bench = Bench(harness, cast("Case", None), "space")
    now = 100.0
    sleeps: list[float] = []

    async def sleep(seconds: float, *_: Any) -> None:
        nonlocal now
        sleeps.append(seconds)
        now += max(seconds - 0.0009, 0.0005)

    monkeypatch.setattr(bench, "clock", lambda: now)
    monkeypatch.setattr(anyio, "sleep", sleep)
    await bench.passes(0.3)
    assert now >= 100.3
    assert len(sleeps) > 1
