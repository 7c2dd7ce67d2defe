"""More planted bugs, and honest backends that lack something: see also ``test_ten``."""

from __future__ import annotations

import pytest

from unit.conformance import broken
from xqueue_core.abc import Faces
from xqueue_core.calls import ALL_ABILITIES, Ability
from xqueue_core.conformance import run

#: What is broken, the cases that name the defect, and one that does not care.
PLANTED = {
    "loses-a-task": (broken.LosesTheLast, {"B11"}, "C24"),
    "forgets-answers": (broken.NewAnswer, {"P1.2a", "P1.2b"}, "C21"),
    "forgets-the-line": (broken.ForgetsTheLine, {"P3.4a"}, "C24"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_queue_is_found(name: str) -> None:
    breaker, finders, unmoved = PLANTED[name]
    harness = broken.BrokenHarness(lambda faces: faces._replace(queue=breaker(faces.queue)))
    report = run(harness, only={*finders, unmoved}, at_once=4)
    assert {one.id for one in report.failed} == finders
    assert all(one.message for one in report.failed)


def test_planted_notifier_is_found() -> None:
    def forgetful(faces: Faces) -> Faces:
        assert faces.notifier is not None
        return faces._replace(notifier=broken.Forgetful(faces.notifier))

    report = run(broken.BrokenHarness(forgetful), only={"P4.4a", "C21"}, at_once=2)
    assert [one.id for one in report.failed] == ["P4.4a"]


def test_an_ability_neither_claimed_nor_refused_is_found() -> None:
    silent = broken.BrokenHarness(abilities=ALL_ABILITIES - {Ability.PRIORITY})
    report = run(silent, only={"N136"})
    assert [one.id for one in report.failed] == ["N136"]
    assert "PRIORITY" in report.failed[0].message


def test_an_ability_that_is_refused_is_honest() -> None:
    def without(faces: Faces) -> Faces:
        return faces._replace(
            queue=broken.Refuser(faces.queue), semaphore=None, notifier=None, view=None
        )

    lacking = {Ability.CANCEL, Ability.LIMITS, Ability.VIEW, Ability.EVENTS}
    honest = broken.BrokenHarness(without, ALL_ABILITIES - lacking)
    report = run(honest, only={"N136"})
    assert report.failed == []
    assert report.not_chosen["J98"] == "the backend does not claim LIMITS"


def test_a_backend_of_four_methods_passes_what_concerns_it() -> None:
    harness = broken.BrokenHarness(lambda faces: Faces(broken.Bare(faces.queue)), frozenset())
    report = run(harness, at_once=8)
    assert [(one.id, one.message) for one in report.failed] == []
    assert report.ok
    assert {"B11", "C21", "D43", "N136", "P1.2a", "P1.4a"} <= set(report.chosen)
    assert {"J98", "F64", "H80", "P4.4a", "P1.5a"} <= set(report.not_chosen)
