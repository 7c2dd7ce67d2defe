"""Events as they lie in the log of the Redis backend."""

import msgspec
import pytest

from xqueue_core.task import Event, EventName, State
from xqueue_redis.events import packed, read

LEASED = ["leased", "processing", 7.5, "lane", 1, 9, "w", "", ["t:a", 2, "t:b", 5]]
A = Event("t:a", 2, EventName.LEASED, State.PROCESSING, 7.5, "lane", 1, 9, "w", "")
B = Event("t:b", 5, EventName.LEASED, State.PROCESSING, 7.5, "lane", 1, 9, "w", "")


def test_events_of_a_group_have_what_it_says_and_their_own() -> None:
    assert read(msgspec.msgpack.encode([LEASED])) == [A, B]


def test_progress_comes_back_with_its_data() -> None:
    told = Event("t:a", 2, EventName.PROGRESS, State.PROCESSING, 8.0, data={"percent": 5})
    assert read(packed([A, told, B])) == [A, told, B]


@pytest.mark.parametrize(
    "damage",
    [
        {0: "nothing"},
        {2: "soon"},
        {8: ["t:a"]},
        {8: ["t:a", "t:b"]},
        {8: [2, 2]},
        {8: ["t:a", 2, "t:b"]},
        {8: None},
    ],
)
def test_a_damaged_group_is_a_gap_between_those_that_are_sound(damage: dict[int, object]) -> None:
    bad = [damage.get(n, value) for n, value in enumerate(LEASED)]
    assert read(msgspec.msgpack.encode([LEASED, bad, LEASED])) == [A, B, None, A, B]


@pytest.mark.parametrize("entry", [None, b"", b"\xc1", msgspec.msgpack.encode("no array")])
def test_what_is_no_entry_is_a_gap(entry: bytes | None) -> None:
    assert read(entry) == [None]
