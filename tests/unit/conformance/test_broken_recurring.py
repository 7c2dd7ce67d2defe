"""Planted defects of recurring schedules: each is found by the cases that concern it, alone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from unit.conformance import broken
from xqueue_core.calls import Accepted, Announce, AnyCommand, Did, Verdict
from xqueue_core.conformance import run
from xqueue_core.task import Task

#: All cases about slots and announcements.
CASES = {"F70", "F71", "P4.2a", *(f"P4.2{letter}" for letter in "bcdefghikl")}


class ForgetsSlots(broken.Forwarding):
    """Does not consume a slot whose task gives way to an earlier one."""

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        bare = [
            msgspec.structs.replace(task, slot=None) if task.unique_key else task for task in tasks
        ]
        return await super().put(bare)


class LastWins(broken.Forwarding):
    """Lets whoever announced last have its rule in force."""

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        forced = [
            msgspec.structs.replace(one, unheard=1e12) if isinstance(one, Announce) else one
            for one in commands
        ]
        return await super().control(forced)


class BeginsAtTheEpoch(broken.Forwarding):
    """Does not tell when a schedule was first seen."""

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        verdicts = list(await super().control(commands))
        for command, verdict in zip(commands, verdicts, strict=True):
            if isinstance(command, Announce) and verdict.did is Did.APPLIED:
                verdict.at = 0.0
        return verdicts


@pytest.mark.parametrize(
    ("breaker", "finders"),
    [
        (ForgetsSlots, {"P4.2f"}),
        (LastWins, {"P4.2d", "P4.2e", "P4.2l"}),
        (BeginsAtTheEpoch, {f"P4.2{letter}" for letter in "bdefhikl"}),
    ],
)
def test_planted_defect_is_found(breaker: type[broken.Forwarding], finders: set[str]) -> None:
    harness = broken.BrokenHarness(lambda faces: faces._replace(queue=breaker(faces.queue)))
    report = run(harness, only=CASES, at_once=8)
    assert {one.id for one in report.failed} == finders
