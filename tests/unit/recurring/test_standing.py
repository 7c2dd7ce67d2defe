"""Where a schedule stands: versions, first sights, and rules that replace one another."""

from __future__ import annotations

import msgspec
import pytest

from xqueue_core.calls import Announce, Did, Verdict
from xqueue_core.recurring.standing import FORMER, Standing, announced, fired
from xqueue_core.task import Slot


class Story:
    """One schedule through time."""

    def __init__(self) -> None:
        self.standing: Standing | None = None

    def announce(self, rule: str, now: float, **changes: float) -> Verdict:
        new, verdict = announced(self.standing, Announce("s", rule, **changes), now)
        self.standing = new or self.standing
        return verdict

    def fire(self, at: float, version: int, now: float | None = None) -> bool:
        new = fired(self.standing, Slot("s", version, at), at if now is None else now)
        self.standing = new or self.standing
        return new is not None


def told(verdict: Verdict) -> tuple[Did, int, float]:
    return verdict.did, verdict.count, verdict.at


def test_a_new_schedule_begins_when_it_is_first_seen() -> None:
    story = Story()
    assert told(story.announce("a", 100.0)) == (Did.APPLIED, 1, 100.0)
    assert told(story.announce("a", 160.0)) == (Did.APPLIED, 1, 100.0)
    assert not story.fire(60.0, 1)
    assert story.fire(120.0, 1)
    assert told(story.announce("a", 170.0)) == (Did.APPLIED, 1, 120.0)


def test_whether_it_has_fired_is_known() -> None:
    story = Story()
    story.announce("a", 100.0)
    assert story.standing is not None
    assert story.standing.fired == 0
    assert story.fire(120.0, 1)
    story.announce("b", 200.0)
    assert (story.standing.last, story.standing.fired) == (200.0, 120.0)


def test_what_an_earlier_version_recorded_is_read() -> None:
    old = msgspec.msgpack.encode([1, 100.0, "a", 100.0, []])
    story = Story()
    story.standing = msgspec.msgpack.decode(old, type=Standing)
    assert story.standing.fired is None
    story.announce("b", 200.0)
    assert story.standing.fired is None
    assert story.fire(260.0, 2)
    assert story.standing.fired == 260.0


def test_a_changed_rule_has_a_higher_version_and_begins_when_it_is_first_seen() -> None:
    story = Story()
    story.announce("a", 100.0)
    assert story.fire(160.0, 1)
    assert told(story.announce("b", 200.0)) == (Did.APPLIED, 2, 200.0)
    assert not story.fire(220.0, 1), "an old worker's slot"
    assert not story.fire(190.0, 2), "a slot before its time"
    assert story.fire(210.0, 2)


def test_an_old_worker_that_starts_again_does_not_bring_its_rule_back() -> None:
    story = Story()
    story.announce("a", 100.0)
    story.announce("b", 200.0)
    verdict = story.announce("a", 210.0)
    assert (*told(verdict), verdict.of) == (Did.CONFLICT, 2, 200.0, "b")
    assert story.announce("b", 211.0).did is Did.APPLIED


def test_a_rule_that_nobody_announces_any_more_gives_way_to_the_one_before() -> None:
    story = Story()
    story.announce("a", 100.0)
    story.announce("b", 200.0)
    story.announce("b", 230.0)
    assert story.announce("a", 280.0, after=150.0, unheard=220.0).did is Did.CONFLICT
    assert told(story.announce("a", 300.0, after=150.0, unheard=240.0)) == (Did.APPLIED, 3, 200.0)
    assert not story.fire(310.0, 2)
    assert story.fire(310.0, 3)


def test_a_rule_that_was_rolled_back_is_deployed_again_beside_an_old_worker() -> None:
    story = Story()
    story.announce("a", 100.0)
    story.announce("b", 200.0)
    assert story.announce("a", 300.0, after=210.0, unheard=240.0).count == 3, "rolled back"
    assert told(story.announce("b", 400.0)) == (Did.APPLIED, 4, 400.0), "deployed again"
    # The old worker goes on, another of its kind starts, and neither brings its rule back.
    for now in range(405, 600, 15):
        old = story.announce("a", float(now), after=210.0, unheard=max(0.0, now - 65.0))
        assert (*told(old), old.of) == (Did.CONFLICT, 4, 400.0, "b")
        assert story.announce("a", now + 1.0).did is Did.CONFLICT
        assert told(story.announce("b", now + 5.0, after=400.0)) == (Did.APPLIED, 4, 400.0)
    assert not story.fire(660.0, 3)
    assert story.fire(660.0, 4)


def test_a_newer_rule_that_was_only_out_of_reach_is_in_force_when_it_is_heard_of_again() -> None:
    story = Story()
    story.announce("a", 100.0)
    story.announce("b", 200.0)
    story.announce("a", 300.0, after=100.0, unheard=240.0)
    assert told(story.announce("b", 310.0, after=200.0)) == (Did.APPLIED, 4, 200.0)
    assert story.announce("a", 311.0, after=100.0, unheard=250.0).did is Did.CONFLICT


def test_of_rules_that_came_after_the_one_taken_up_again_each_may_come_back() -> None:
    story = Story()
    for n, rule in enumerate("abcd"):
        story.announce(rule, 100.0 + n)
    assert story.announce("b", 300.0, unheard=240.0).count == 5
    assert story.announce("a", 301.0).did is Did.CONFLICT, "older than the one in force"
    assert story.announce("c", 302.0).count == 6
    assert story.announce("b", 303.0).did is Did.CONFLICT
    assert story.announce("d", 304.0).count == 7


def test_firing_keeps_a_rule_in_force() -> None:
    story = Story()
    story.announce("a", 100.0)
    story.announce("b", 200.0)
    assert story.fire(300.0, 2)
    assert story.announce("a", 301.0, unheard=250.0).did is Did.CONFLICT


def test_no_slot_begins_in_the_future() -> None:
    story = Story()
    assert story.announce("a", 100.0, after=9_000.0).at == 100.0
    assert story.announce("b", 200.0, after=9_000.0).at == 200.0


def test_the_former_rules_are_bounded() -> None:
    story = Story()
    for n in range(50):
        assert story.announce(f"rule {n}", 100.0 + n).count == n + 1
    assert story.standing is not None
    assert story.standing.former == [f"rule {n}" for n in range(49 - FORMER, 49)]


@pytest.mark.parametrize("now", [-4_000.0, 4_000.0])
def test_a_clock_that_was_set_keeps_being_noted(now: float) -> None:
    story = Story()
    story.announce("a", 10_000.0)
    story.announce("a", 10_000.0 + now)
    assert story.standing is not None
    assert story.standing.seen == 10_000.0 + now


def test_a_newer_version_than_any_announced_is_believed() -> None:
    story = Story()
    assert story.fire(100.0, 4)
    assert not story.fire(200.0, 3)
    assert story.fire(200.0, 5)
    assert story.announce("a", 300.0).count == 6
