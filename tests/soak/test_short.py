"""A short kill run. ``make soak`` is the long one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from soak.kills import Plan, carry_out
from support.history import events as e
from support.history.checker import Terms, check
from support.history.writer import read

PLAN = Plan(seconds=15.0, kills=4, stops=1)
OVER_REDIS = replace(PLAN, seconds=30.0, broker="redis7", broker_kills=2, broker_stops=1)


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("plan", [PLAN, OVER_REDIS], ids=lambda plan: plan.broker)
async def test_the_history_explains_four_kills_and_a_stop(
    tmp_path: Path, plan: Plan, anyio_backend: str
) -> None:
    outcome = await carry_out(plan, tmp_path)
    assert outcome.ok, str(outcome)
    looked_at = {name: one.looked_at for name, one in outcome.report.verdicts.items()}
    assert min(looked_at[name] for name in ("lost", "doubled", "limit")) > 100
    assert min(looked_at["cancel"], looked_at["priority"]) > 5
    assert len(outcome.report["doubled"].excused) > 10, "the kills were felt"
    assert outcome.recovery["tasks"]["n"] >= 40
    events = read(tmp_path / "history.jsonl")
    assert any(isinstance(one, e.Started) and one.child for one in events)
    _would_be_found(plan, events)


def _would_be_found(plan: Plan, events: list[e.AnyEvent]) -> None:
    """The same run with parts of its history withheld is not believed."""
    terms = Terms(plan.lease, plan.heartbeat, tolerance=0.05)

    def broken(keep: Callable[[e.AnyEvent], bool]) -> set[str]:
        verdicts = check(filter(keep, events), terms, ahead=plan.ahead).verdicts.values()
        return {one.name for one in verdicts if not one.ok}

    assert broken(lambda one: True) == set()
    assert {"doubled", "dead"} <= broken(lambda one: not isinstance(one, e.Killed))
    assert {"lost", "conserved"} <= broken(lambda one: not isinstance(one, e.FinalState))
    assert "phantom" in broken(lambda one: not isinstance(one, e.Submitted))
    assert {"phantom", "limit"} <= broken(lambda one: not isinstance(one, e.Ended))
