"""The whole kit on ten broken backends: each defect is found by its own case, and by no other."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from unit.conformance.ten import TEN, harness
from xqueue_core.conformance import Report, run

#: The cases that name each defect. Where there are two, the reason.
NAMED = {
    # The same rule, for a worker that settles late and for one that renews late before it.
    "no fence": {"P1.5a", "E54"},
    "forgets a delayed task": {"F67"},
    "grants twice": {"J98"},
    "ignores dedupe": {"H80"},
    "loses a hand-back": {"D48"},
    # O140 compares the ends of work of every kind with those on memory.
    "charges a hand-back": {"P1.1b", "O140"},
    "starts early": {"F64"},
    "drops a cancel": {"H83"},
    "miscounts": {"P4.5a"},
    "claims what it lacks": {"H85", "O140"},
}


def whole(name: str) -> Report:
    """The whole kit on this backend. Most of its time is waiting."""
    return run(harness(name), at_once=12)


@pytest.fixture(scope="module")
def reports() -> Mapping[str, Report]:
    """The reports of all ten, some made at the same time."""
    with ThreadPoolExecutor(3) as pool:
        return dict(zip(TEN, pool.map(whole, TEN), strict=True))


def test_there_are_ten() -> None:
    assert len(TEN) == 10
    assert set(NAMED) == set(TEN)


@pytest.mark.timeout(360)
@pytest.mark.parametrize("name", TEN)
def test_a_defect_is_found_by_its_case_alone(name: str, reports: Mapping[str, Report]) -> None:
    report = reports[name]
    assert report.missing == []
    found = {one.id for one in report.failed}
    # The load of three kits at once makes cases late that do not fail when they run alone, and
    # hides what comes too early; what a defect has made wrong is seen then.
    beside, hidden = found - NAMED[name], NAMED[name] - found
    again = run(harness(name), only=beside | hidden).failed if beside | hidden else []
    assert [(one.id, one.message) for one in again if one.id in beside] == []
    found = found - beside | {one.id for one in again}
    assert found == NAMED[name]
    assert all(one.message for one in report.failed)
