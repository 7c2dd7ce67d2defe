"""Life cycle, order, wake-ups and looks: each defect is found by its case, and by no other."""

from __future__ import annotations

import pytest

from unit.conformance.broken import BrokenHarness
from unit.conformance.narrow import NARROW, Muted
from unit.conformance.narrow_cycles import Leaves, Restarts
from xqueue_core.conformance import all_cases, run

#: The case that names each defect. Where there are two, the reason.
NAMED = {
    "accepts when closed": {"A3"},
    "one for all namespaces": {"A8"},
    "leaves a thread": {"A10"},
    "leaves a task": {"A10"},
    "leaves a file": {"A10"},
    "ends the others": {"A1"},
    "loses the youngest": {"A4"},
    "registers who puts": {"A7"},
    "tells objects": {"A9"},
    "raises what it likes": {"A9b"},
    "needs lanes": {"A2"},
    "drops what is under way": {"A4b"},
    "waits for who waits": {"A5"},
    "ends the unstarted": {"A6"},
    "high is high": {"G76"},
    "starves": {"G77"},
    # The same rule, for those who ask one after the other and at once.
    "last comes first": {"G73", "G73b"},
    "keeps priority": {"G78"},
    "never rings": {"K114"},
    "skips": {"K117"},
    "hears alone": {"K115b"},
    "herds": {"K116"},
    "tells no cancel": {"K118"},
    "keeps for the gone": {"K115"},
    "miscounts parked": {"L120"},
    "youngest is oldest": {"L121"},
    "peek leases": {"L122"},
    "purges too wide": {"L123"},
    "forgets wishes": {"H83e"},
    "forgets failures": {"L124"},
    "nobody dies": {"L125"},
}

#: Defects with which the rest of the group has not much to do; one case of it is enough beside.
BESIDE = {
    "leaves a task": {"A1"},
    "leaves a file": {"A1"},
    "ends the others": {"A2"},
    "loses the youngest": {"A1"},
    "registers who puts": {"A2"},
    "tells objects": {"A1"},
    "raises what it likes": {"A1"},
    "needs lanes": {"A1"},
    "drops what is under way": {"A3", "A4"},
    "waits for who waits": {"A1", "A3"},
    "ends the unstarted": {"A1"},
    "last comes first": {"G76"},
    "keeps priority": {"G76"},
    "hears alone": {"K115"},
    "herds": {"K119"},
    "tells no cancel": {"K119"},
    "keeps for the gone": {"K119"},
    "youngest is oldest": {"L125"},
    "forgets wishes": {"H83b", "H83d"},
    "forgets failures": {"L125"},
    "nobody dies": {"L123"},
}


def others(name: str) -> set[str]:
    """The cases that the defect must not move."""
    if name in BESIDE:
        return BESIDE[name]
    letter = min(NAMED[name])[0]
    return {one.id for one in all_cases() if one.id[0] == letter}


def test_every_defect_is_tried() -> None:
    assert set(NAMED) == set(NARROW)


@pytest.mark.parametrize("name", NARROW)
def test_a_defect_is_found_by_its_case_alone(name: str) -> None:
    harness = NARROW[name]()
    try:
        report = run(harness, only=NAMED[name] | others(name), at_once=12)
    finally:
        if isinstance(harness, Leaves):
            harness.tidy()
    assert {one.id for one in report.failed} == NAMED[name]
    assert all(one.message for one in report.failed)


def test_a_broker_that_can_be_restarted_passes() -> None:
    assert run(Restarts(), only={"A9b", "A9"}).failed == []


def test_a_broker_whose_wake_ups_can_be_lost_passes() -> None:
    assert run(Muted(deaf=False), only={"K115b"}).failed == []


def test_without_a_defect_the_groups_pass() -> None:
    groups = {one.id for one in all_cases() if one.id[0] in "AGKL"}
    report = run(BrokenHarness(), only=groups, at_once=12)
    assert [(one.id, one.message) for one in report.failed] == []
