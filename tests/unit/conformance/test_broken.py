"""More planted bugs, and honest backends that lack something: see also ``test_ten``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import msgspec
import pytest

from unit.conformance import broken
from xqueue_core.abc import API, Faces
from xqueue_core.calls import ALL_ABILITIES, Ability, Capabilities, Settle, Settled
from xqueue_core.conformance import all_cases, choose, run
from xqueue_core.task import Failed, Failure, HandBack
from xqueue_memory import MemoryBackend

#: Abilities whose lack shows in a call; that of the others shows when an app starts.
SHOWN = [*map(Ability, ("DEDUPE", "DELAY", "PRIORITY", "CANCEL", "LIMITS", "VIEW", "EVENTS"))]

#: What is broken, the cases that name the defect, and one that does not care.
PLANTED = {
    "loses-a-task": (broken.LosesTheLast, {"B11"}, "C24"),
    "forgets-answers": (broken.NewAnswer, {"P1.2a", "P1.2b"}, "C21"),
    "hands-back-by-id": (broken.HandsBackById, {"P1.2k"}, "P1.2d"),
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


@pytest.mark.parametrize("ability", SHOWN)
def test_an_ability_neither_claimed_nor_refused_is_found(ability: Ability) -> None:
    silent = broken.BrokenHarness(abilities=ALL_ABILITIES - {ability})
    report = run(silent, only={"N136"})
    assert [one.id for one in report.failed] == ["N136"]
    assert f"got ['{ability.value}']" in report.failed[0].message


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


def test_an_ability_that_is_claimed_without_its_face_is_found() -> None:
    harness = broken.BrokenHarness(lambda faces: faces._replace(semaphore=None))
    report = run(harness, only={"N137"})
    assert [one.id for one in report.failed] == ["N137"]
    assert "LIMITS" in report.failed[0].message


def test_an_ability_that_no_case_tries_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    without = [one for one in all_cases() if Ability.PRIORITY not in one.needs]
    monkeypatch.setattr("xqueue_core.conformance.groups.honesty.all_cases", lambda: without)
    report = run(broken.BrokenHarness(), only={"N137"})
    assert [one.id for one in report.failed] == ["N137"]
    assert "PRIORITY" in report.failed[0].message


class Apart(broken.BrokenHarness):
    """Claims that several processes may open it; each opening has a store of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._openings = count()

    @property
    def capabilities(self) -> Capabilities:
        """As of any other, but shared."""
        return msgspec.structs.replace(super().capabilities, shared=True)

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        """Open another one."""
        async with super().open(f"{namespace}-{next(self._openings)}", settings) as faces:
            yield faces


def test_a_claim_to_be_shared_that_does_not_hold_is_found() -> None:
    report = run(Apart(), only={"N137"})
    assert [one.id for one in report.failed] == ["N137"]
    assert "waited 5 s for 1 deliveries" in report.failed[0].message


class Claims(broken.BrokenHarness):
    """Claims other numbers."""

    def __init__(self, **claims: Any) -> None:
        super().__init__()
        self._claims = claims

    @property
    def capabilities(self) -> Capabilities:
        """As of any other, with these numbers."""
        return msgspec.structs.replace(super().capabilities, **self._claims)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_payload", 0),
        ("max_delay", -1.0),
        ("dedupe_horizon", 0.0),
        ("max_in_flight", 0),
        ("delay_resolution", -0.1),
        ("failure_detection", -0.1),
        ("order_scope", "queue"),
    ],
)
def test_a_number_that_cannot_be_is_found(name: str, value: object) -> None:
    report = run(Claims(**{name: value}), only={"N138"})
    assert [one.id for one in report.failed] == ["N138"]
    assert name in report.failed[0].message


class Unversioned(MemoryBackend):
    """States a version that nobody asked for."""

    api = API + 1


def test_a_backend_of_another_version_is_found() -> None:
    harness = broken.BrokenHarness()
    assert choose(harness).not_chosen["N139"].startswith("the harness does not give the backend")
    for backend, failed in ((MemoryBackend(), []), (Unversioned(), ["N139"])):
        harness.backend = backend
        assert [one.id for one in run(harness, only={"N139"}).failed] == failed


class EndsOtherwise(broken.Forwarding):
    """A task that is handed back when it ran fails."""

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        return await super().settle(
            [
                Settle(one.id, one.token, Failed(Failure("exception")))
                if isinstance(one.outcome, HandBack) and one.outcome.ran
                else one
                for one in outcomes
            ]
        )


def test_work_that_ends_otherwise_than_on_memory_is_found() -> None:
    harness = broken.BrokenHarness(lambda faces: faces._replace(queue=EndsOtherwise(faces.queue)))
    report = run(harness, only={"O140"})
    assert [one.id for one in report.failed] == ["O140"]
    assert "with seed 1" in report.failed[0].message
