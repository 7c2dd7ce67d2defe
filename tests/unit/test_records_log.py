"""What ``Records`` promises about counts and the log, on every store we have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.stores import KINDS, FakeClock, make, open_records
from xqueue_core.stored.records import Group, Records

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=KINDS)
async def records(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Records]:
    async with open_records(request.param, tmp_path, clock) as records:
        yield records


async def write(records: Records, *events: bytes) -> None:
    assert await records.swap([Group(events=events)]) == [True]


async def cursors(records: Records, after: int = 0) -> list[int]:
    return [cursor for cursor, _ in (await records.log(after, 1_000)).entries]


# -- counts ------------------------------------------------------------------------------------


async def test_counts_add_up_and_vanish_at_0(records: Records) -> None:
    await records.swap([Group(counts={"a": 2, "b": -1}), Group(counts={"a": 3, "c": 1})])
    assert await records.counts("", "", 9) == [("a", 5), ("b", -1), ("c", 1)]
    await records.swap([Group(counts={"a": -5, "b": 1}), Group(counts={"c": 1, "d": 0})])
    assert await records.counts("", "", 9) == [("c", 2)]
    await records.swap([Group(counts={"a": 1})])
    assert await records.counts("", "", 9) == [("a", 1), ("c", 2)]


async def test_counts_are_read_by_prefix_in_pages(records: Records) -> None:
    names = ["", "a", "a/", "a/b", "a/c", "a/\U0010ffff", "a0", "b", "ä"]
    await records.swap([Group(counts=dict.fromkeys(names, 1))])
    assert [name for name, _ in await records.counts("", "", 99)] == names[1:]
    assert [name for name, _ in await records.counts("a/", "", 99)] == names[2:6]
    assert [name for name, _ in await records.counts("a/", "a/b", 1)] == ["a/c"]
    assert await records.counts("a/", "b", 9) == []
    assert await records.counts("none", "", 9) == []


async def test_a_count_with_its_prefix_as_name_is_found(records: Records) -> None:
    await records.swap([Group(counts={"a": 1, "ab": 2})])
    assert await records.counts("a", "", 9) == [("a", 1), ("ab", 2)]
    assert await records.counts("a", "a", 9) == [("ab", 2)]


# -- log ---------------------------------------------------------------------------------------


async def test_an_empty_log(records: Records) -> None:
    for after in (None, 0, 5):
        log = await records.log(after, 9)
        assert (list(log.entries), log.first, log.last) == ([], 1, 0)


async def test_events_of_one_swap_lie_in_one_entry(records: Records) -> None:
    await records.swap([Group(events=[b"a", b"b"]), make("x"), Group(events=[b"c"])])
    await records.swap([make("y")])
    await write(records, b"d")
    log = await records.log(0, 9)
    assert [list(events) for _, events in log.entries] == [[b"a", b"b", b"c"], [b"d"]]
    assert [cursor for cursor, _ in log.entries] == [log.first, log.last]


async def test_the_log_is_read_in_pages(records: Records) -> None:
    for number in range(7):
        await write(records, b"%d" % number)
    everything = await cursors(records)
    assert len(everything) == 7
    assert everything[0] >= 1
    seen: list[int] = []
    while page := (await records.log(seen[-1] if seen else 0, 3)).entries:
        assert len(page) <= 3
        seen += [cursor for cursor, _ in page]
    assert seen == everything
    assert (await records.log(None, 9)) == ([], everything[0], everything[-1])
    assert await cursors(records, everything[-1]) == []


async def test_trim_drops_what_was_written_before(records: Records, clock: FakeClock) -> None:
    for number in range(5):
        clock.wall = 1_000_000.0 + number
        await write(records, b"%d" % number)
    everything = await cursors(records)
    await records.trim(1_000_002.0)
    log = await records.log(0, 9)
    assert [list(events) for _, events in log.entries] == [[b"2"], [b"3"], [b"4"]]
    assert (log.first, log.last) == (everything[2], everything[4])
    await records.trim(1_000_002.0)
    assert await cursors(records) == everything[2:]


async def test_trim_stops_at_the_first_entry_to_keep(records: Records, clock: FakeClock) -> None:
    for wall in (10.0, 30.0, 20.0, 40.0):  # the wall clock was set back in between
        clock.wall = wall
        await write(records, b"")
    await records.trim(25.0)
    assert len(await cursors(records)) == 3


@pytest.mark.parametrize("count", [1, 2, 2_500])
async def test_cursors_go_on_after_everything_was_trimmed(
    records: Records, clock: FakeClock, count: int
) -> None:
    for _ in range(count):
        await write(records, b"old")
    last = (await records.log(None, 0)).last
    clock.wall += 10
    await records.trim(clock.wall)
    log = await records.log(None, 0)
    assert log.last == last
    assert log.first in (last, last + 1)  # a store may keep the newest
    await write(records, b"new")
    assert await cursors(records, last) == [last + 1]
