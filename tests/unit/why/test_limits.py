"""Reasons in limits and lines."""

from __future__ import annotations

import pytest

from support.evidence import (
    LANE,
    codes,
    evidence,
    first,
    info,
    limit,
)
from xqueue_core.why import (
    Ahead,
    Behind,
    Holder,
    KeyLimit,
    LaneLimit,
    reasons,
)

# -- limits and lines ----------------------------------------------------------------------------


def test_a_lane_at_its_limit_names_who_holds_it_and_until_when() -> None:
    permits = limit("lane:mail", 3, "a", "b", "a", pinned=True)
    permits.expires_in["r2"] = 14.0
    reason = first(evidence(info(), lane_limit=permits))
    assert reason == LaneLimit(
        lane=LANE,
        limit=3,
        used=3,
        pinned=True,
        holders=(
            Holder(worker="a", permits=2, expires_in=14.0),
            Holder(worker="b", permits=1, expires_in=10.0),
        ),
    )
    assert "at its limit of 3 (set by an operator): 3 permits held (a: 2, b: 1)" in reason.text
    assert "should their workers die, they come free within 14 s" in reason.text


def test_how_long_permits_last_is_not_guessed() -> None:
    permits = limit("lane:mail", 2, "a", "a")
    del permits.expires_in["r1"]
    reason = first(evidence(info(), lane_limit=permits))
    assert isinstance(reason, LaneLimit)
    assert reason.holders == (Holder(worker="a", permits=2),)
    assert "come free" not in reason.text
    mixed = limit("lane:mail", 2, "a", "b")
    del mixed.expires_in["r1"]
    assert "come free" not in first(evidence(info(), lane_limit=mixed)).text


@pytest.mark.parametrize("most", [2, None])
def test_a_lane_below_its_limit_is_no_reason(most: int | None) -> None:
    assert codes(evidence(info(), lane_limit=limit("lane:mail", most, "a"))) == ["ready"]


def test_a_parked_task_tells_its_place_and_who_holds_the_key() -> None:
    parked = info(options={"key": "k"}, waiting_for="key:k")
    found = evidence(
        parked, key_limit=limit("key:mail:k", 1, "a"), line=5, ahead=Ahead(count=2), pending=5
    )
    assert reasons(found) == [
        KeyLimit(
            lane=LANE,
            key="k",
            limit=1,
            used=1,
            holders=(Holder(worker="a", permits=1, expires_in=10.0),),
            place=3,
            waiting=5,
        )
    ]
    assert "1 permit held (a: 1)" in first(found).text
    assert "it is number 3 of 5 in the line of the key 'k'" in first(found).text
    found.ahead = Ahead(count=2, exact=False)
    assert "it is one of 5 in the line" in first(found).text


def test_a_parked_task_whose_key_has_room_waits_for_a_worker() -> None:
    parked = info(options={"key": "k"}, waiting_for="key:k")
    found = evidence(parked, key_limit=limit("key:mail:k", 1), workers=[])
    assert codes(found) == ["no_worker", "key_limit"]
    assert "has room now: it is parked in the line" in reasons(found)[1].text


def test_a_saturated_key_is_told_before_the_task_is_parked() -> None:
    found = evidence(info(options={"key": "k"}), key_limit=limit("key:mail:k", 1, "a"))
    found.ahead = Ahead(count=2)
    assert codes(found) == ["key_limit", "behind"]
    reason = first(found)
    assert isinstance(reason, KeyLimit)
    assert (reason.parked, reason.full, reason.place) == (False, True, None)
    found.ahead = None
    assert "it will wait in the key's line" in reason.text
    found.key_limit = limit("key:mail:k", 2, "a")
    assert codes(found) == ["ready"]


def test_others_before_it() -> None:
    found = evidence(info(), pending=8, ahead=Ahead(count=5, higher=2))
    assert reasons(found) == [Behind(lane=LANE, count=5, higher=2, waiting=8)]
    assert (
        "5 others of the 8 that wait in the lane 'mail' come before it (2 by their priority)"
        in (first(found).text)
    )
    one = evidence(info(), pending=2, ahead=Ahead(count=1))
    assert first(one).text.startswith("1 other of the 2")
    assert codes(evidence(info(), ahead=Ahead())) == ["ready"]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "Others, nobody"), (7, "At least 7"), (1001, "More than 1000 others")]
)
def test_a_count_that_stopped_somewhere_says_so(count: int, text: str) -> None:
    reason = first(evidence(info(), pending=8000, ahead=Ahead(count=count, exact=False)))
    assert reason.text.startswith(text)
