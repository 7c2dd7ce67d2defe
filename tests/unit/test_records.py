"""What ``Records`` promises about rows, buckets and alarms, on every store we have."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path

import pytest

from support.stores import KINDS, FakeClock, make, open_records
from xqueue_core.stored.records import ABSENT, ANY, Change, Group, Records, Scan

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


async def keys(records: Records, bucket: str) -> list[str]:
    (rows,) = await records.scan([Scan(bucket, 1_000)])
    return [row.key for row in rows]


# -- versions ----------------------------------------------------------------------------------


async def version(records: Records, key: str) -> int:
    """The version that the row has now."""
    (row,) = await records.load([key])
    assert row is not None
    return row.version


async def test_each_change_adds_1_to_the_version(records: Records) -> None:
    assert await records.swap([Group([Change("a", ABSENT, b"1", "b", 7)])]) == [True]
    made = await version(records, "a")
    assert made >= 1
    assert await records.swap([Group([Change("a", made, b"2")])]) == [True]
    assert await records.swap([Group([Change("a", ANY, b"3", "b", 9)])]) == [True]
    assert await records.load(["a"]) == [("a", made + 2, b"3", "b", 9)]


async def test_load_keeps_the_order_of_the_keys(records: Records) -> None:
    await records.swap([make("a", b"1"), make("b", b"2")])
    rows = await records.load(["b", "none", "a", "b"])
    assert [row and row.body for row in rows] == [b"2", None, b"1", b"2"]
    assert list(await records.load([])) == []


@pytest.mark.parametrize("more", [None, -1, 1, 2])
async def test_another_version_than_expected_changes_nothing(
    records: Records, more: int | None
) -> None:
    await records.swap([make("b", b"1"), make("a", b"1")])
    made = await version(records, "a")
    expected = ABSENT if more is None else made + more
    assert await records.swap([Group([Change("a", expected, b"2")])]) == [False]
    assert await records.load(["a"]) == [("a", made, b"1", "", 0)]


async def test_a_row_that_is_absent_has_no_version(records: Records) -> None:
    verdicts = await records.swap([Group([Change("a", 1, b"")]), Group([Change("b", 1, None)])])
    assert verdicts == [False, False]
    assert await records.swap([Group([Change("a", ANY, b"")])]) == [True]


async def test_a_removed_row_that_is_made_again_is_not_mistaken_for_the_old_one(
    records: Records,
) -> None:
    await records.swap([make("a", b"1", "b")])
    await records.swap([Group([Change("a", ANY, b"1", "b")])])
    old = await version(records, "a")
    assert await records.swap([Group([Change("a", old, None)])]) == [True]
    assert await records.load(["a"]) == [None]
    assert await keys(records, "b") == []
    assert await records.swap([make("a", b"2")]) == [True]
    assert await version(records, "a") != old
    stale = [Change("a", old, None), Change("a", old - 1, None)]
    assert await records.swap([Group([change]) for change in stale]) == [False, False]


async def test_removing_what_is_not_there_applies_where_that_is_allowed(records: Records) -> None:
    groups = [Group([Change("a", expected, None)]) for expected in (ANY, ABSENT)]
    assert await records.swap(groups) == [True, True]


# -- groups ------------------------------------------------------------------------------------


async def test_a_group_applies_all_or_none(records: Records) -> None:
    await records.swap([make("old")])
    conflict = Group(
        [Change("new", ABSENT, b""), Change("old", ABSENT, b"x")], [b"event"], {"count": 1}
    )
    good = Group([Change("good", ABSENT, b"")], [b"good"], {"count": 5})
    assert await records.swap([conflict, good]) == [False, True]
    rows = await records.load(["new", "old", "good"])
    assert [row and row.body for row in rows] == [None, b"", b""]
    assert await records.counts("", "", 9) == [("count", 5)]
    assert [list(events) for _, events in (await records.log(0, 9)).entries] == [[b"good"]]


async def test_later_groups_see_earlier_ones(records: Records) -> None:
    verdicts = await records.swap(
        [
            make("a", b"1"),
            make("a", b"again"),
            Group([Change("a", ANY, b"2")]),
            Group([Change("a", ANY, None)]),
            Group([Change("a", 3, b"gone")]),
            make("a", b"3"),
            Group([Change("a", ANY, b"4"), Change("b", ABSENT, b"")]),
        ]
    )
    assert verdicts == [True, False, True, True, False, True, True]
    (row,) = await records.load(["a"])
    assert row is not None
    assert row.body == b"4"


async def test_made_and_removed_in_one_call(records: Records) -> None:
    groups = [make("a", b"", "b"), Group([Change("a", ANY, None)])]
    assert await records.swap(groups) == [True, True]
    assert await records.load(["a"]) == [None]
    assert await keys(records, "b") == []


async def test_a_group_without_changes_applies(records: Records) -> None:
    assert await records.swap([Group(), Group(events=[b"e"], counts={"n": 2})]) == [True, True]
    assert await records.counts("", "", 9) == [("n", 2)]
    assert list(await records.swap([])) == []


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 256, 257, 1_000])
async def test_batches_of_any_size(records: Records, size: int) -> None:
    names = [f"{number:04}" for number in range(size)]
    groups = [
        Group([Change(name, ABSENT, name.encode(), "b")], [name.encode()], {name: 1})
        for name in names
    ]
    assert await records.swap(groups) == [True] * size
    assert await records.swap(groups) == [False] * size
    rows = await records.load(names)
    assert [row and row.body for row in rows] == [name.encode() for name in names]
    assert await keys(records, "b") == names
    assert await records.counts("", "", size + 1) == [(name, 1) for name in names]
    removals = [
        Group([Change(row.key, row.version, None)], (), {row.key: -1}) for row in rows if row
    ]
    assert await records.swap(removals) == [True] * size
    assert await keys(records, "b") == []
    assert await records.counts("", "", 1) == []


# -- content -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"a\0b", b"\xff\xfe\x80", b"\"\\'", os.urandom(1 << 20)], ids=range(6)
)
async def test_bodies_and_events_are_any_bytes(records: Records, body: bytes) -> None:
    changes = [Change("a", ABSENT, b"before", "b"), Change("b", ABSENT, body, "b", 1)]
    await records.swap([Group([*changes, Change("c", ABSENT, b"behind", "b", 2)], [body, b"x"])])
    (rows,) = await records.scan([Scan("b", 9)])
    assert [row.body for row in rows] == [b"before", body, b"behind"]
    assert [list(events) for _, events in (await records.log(0, 9)).entries] == [[body, b"x"]]


@pytest.mark.parametrize("name", ["", "a\0b", "'\"\\", "ä€\U0001f600", "%_*", "\U0010ffff"])
async def test_names_are_any_text(records: Records, name: str) -> None:
    change = Change(name, ABSENT, b"x", bucket=f"bucket {name}", alarm=1.0)
    assert await records.swap([Group([change], (), {f"count {name}": 1})]) == [True]
    (row,) = await records.load([name])
    assert row is not None
    assert row == (name, row.version, b"x", f"bucket {name}", 0)
    assert await records.scan([Scan(f"bucket {name}", 9)]) == [[row]]
    assert (await records.due(9))[0] == [row]
    assert await records.counts(f"count {name}", "", 9) == [(f"count {name}", 1)]
    assert await records.swap([Group([Change(name, row.version, None)])]) == [True]


# -- buckets -----------------------------------------------------------------------------------


async def test_a_scan_goes_by_order_then_key(records: Records) -> None:
    places = [("c", 1), ("a", 2), ("b", 2), ("z", 0), ("m", 2**62), ("d", 1)]
    await records.swap([make(key, b"", "b", order) for key, order in places])
    assert await keys(records, "b") == ["z", "c", "d", "a", "b", "m"]


async def test_a_scan_is_read_in_pages(records: Records) -> None:
    await records.swap([make(f"{number}", b"", "b", number // 2) for number in range(9)])
    seen: list[str] = []
    after = (-1, "")
    while True:
        (rows,) = await records.scan([Scan("b", 2, after)])
        if not rows:
            break
        assert len(rows) <= 2
        seen += [row.key for row in rows]
        after = (rows[-1].order, rows[-1].key)
    assert seen == [f"{number}" for number in range(9)]
    assert await records.scan([Scan("b", 9, (3, ""))]) == [await records.load(["6", "7", "8"])]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 16, 17, 40])
async def test_many_scans_at_once(records: Records, count: int) -> None:
    await records.swap([make(f"{n}", b"", f"bucket {n % 5}", n) for n in range(25)])
    scans = [Scan(f"bucket {n % 6}", 1 + n % 3) for n in range(count)]
    found = await records.scan(scans)
    assert len(found) == count
    for n, rows in enumerate(found):
        wanted = [] if n % 6 == 5 else [f"{n % 6 + 5 * m}" for m in range(1 + n % 3)]
        assert [row.key for row in rows] == wanted


async def test_an_outline_is_a_scan_that_may_leave_out_bodies(records: Records) -> None:
    rows = [make(f"{n}", b"x" * 999, f"bucket {n % 3}", n) for n in range(40)]
    await records.swap([*rows, make("empty", b"", "bucket 0", 50), make("none")])
    scans = [Scan(f"bucket {n % 4}", 1 + n, (n, "")) for n in range(20)] + [Scan("", 9)]
    for some in ([], scans[:1], scans):
        outlines, found = await records.outline(some), await records.scan(some)
        assert [[row._replace(body=b"") for row in part] for part in outlines] == [
            [row._replace(body=b"") for row in part] for part in found
        ]
        for outline, row in zip(chain(*outlines), chain(*found), strict=True):
            assert outline.body in (b"", row.body)


async def test_a_row_without_a_bucket_is_in_no_scan(records: Records) -> None:
    await records.swap([make("a")])
    assert await records.scan([Scan("", 9), Scan("none", 9)]) == [[], []]


async def test_a_change_moves_a_row(records: Records) -> None:
    await records.swap([make("a", b"", "one", 1), make("b", b"", "one", 2)])
    moves = [Change("a", ANY, b"", "one", 3), Change("b", ANY, b"", "two", 0)]
    assert await records.swap([Group([move]) for move in moves]) == [True, True]
    assert (await keys(records, "one"), await keys(records, "two")) == (["a"], ["b"])
    assert await records.swap([Group([Change("a", ANY, b"")])]) == [True]
    assert await keys(records, "one") == []


# -- alarms ------------------------------------------------------------------------------------


async def test_alarms_are_due_in_order_once_their_time_has_come(
    records: Records, clock: FakeClock
) -> None:
    times = {"a": 30.0, "b": 10.0, "c": 20.25, "d": 20.25, "e": None}
    await records.swap(
        [Group([Change(key, 0, b"", alarm=at and clock.wall + at)]) for key, at in times.items()]
    )
    assert await records.due(9) == ([], clock.wall + 10.0)
    clock.wall += 10.0
    rows, coming = await records.due(9)
    assert ([row.key for row in rows], coming) == (["b"], clock.wall + 10.25)
    clock.wall += 20.0
    rows, coming = await records.due(9)
    assert ([row.key for row in rows], coming) == (["b", "c", "d", "a"], None)
    assert [row.key for row in (await records.due(2))[0]] == ["b", "c"]


async def test_a_later_change_replaces_the_alarm(records: Records, clock: FakeClock) -> None:
    early, late = clock.wall - 1, clock.wall + 1
    await records.swap([Group([Change(key, 0, b"", alarm=early)]) for key in "abc"])
    verdicts = await records.swap(
        [
            Group([Change("a", ANY, b"")]),
            Group([Change("b", ANY, b"", alarm=late)]),
            Group([Change("c", ANY, None)]),
        ]
    )
    assert verdicts == [True, True, True]
    assert await records.due(9) == ([], late)


# -- clocks and cancelling ---------------------------------------------------------------------


async def test_now_is_the_clock_given(records: Records, clock: FakeClock) -> None:
    assert await records.now() == (clock.wall, clock.steady, clock.epoch)


async def test_a_cancelled_call_harms_no_later_one(records: Records) -> None:
    calls = [asyncio.ensure_future(records.swap([make(f"{number}")])) for number in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert done[1::2] == [[True]] * 10
    # What was cancelled may have happened or not, but not by halves.
    for number in range(20):
        (row,) = await records.load([f"{number}"])
        assert await records.swap([make(f"{number}")]) == [row is None]
