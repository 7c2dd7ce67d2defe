"""Random sequences of calls end the same on every store."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from support.stores import KINDS, FakeClock, open_records
from xqueue_core.stored.records import ANY, Change, Group, Records, Row, Scan

_KEYS = [f"key {number}" for number in range(12)]
_BUCKETS = ["", "one", "two"]
_COUNTS = ["x", "x/1", "x/2", "y"]


#: Stands for the version that a row was last seen with, and for the three before it.
_LAST = -11
_SEEN = [_LAST, _LAST - 1, _LAST - 2, _LAST - 3]
#: Stands for a version one or two above that.
_GROWN = [-21, -22]
#: No row ever has it.
_NEVER = 2**62


class _Store:
    """A store, and the versions that it has shown: their numbers differ from store to store."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._shown: defaultdict[str, list[int]] = defaultdict(list)
        self.living: dict[str, int] = {}  # versions of the rows that are there

    async def swap(self, groups: Sequence[Group]) -> list[bool]:
        """Put in the versions that are stood for."""
        told = [
            group._replace(changes=[self._with_version(change) for change in group.changes])
            for group in groups
        ]
        return list(await self._records.swap(told))

    def _with_version(self, change: Change) -> Change:
        shown, expected = self._shown[change.key], change.expected
        if expected in _GROWN:
            expected = self.living[change.key] + _GROWN.index(expected) + 1
        elif expected in _SEEN:
            back = _SEEN.index(expected) + 1
            expected = shown[-back] if back <= len(shown) else _NEVER
        return change._replace(expected=expected)

    async def everything(self, kept: Collection[str]) -> list[Any]:
        """What the store holds. Versions that grew are told of rows that surely stayed."""
        before, rows = self.living, await self._records.load(_KEYS)
        self.living = {row.key: row.version for row in rows if row}
        scans = [Scan(bucket, 5, (0, "key 3")) for bucket in _BUCKETS]
        due, coming = await self._records.due(4)
        return [
            self._numbered(rows),
            {key: self.living[key] - before[key] for key in sorted(kept)},
            [self._numbered(found) for found in await self._records.scan(scans)],
            (self._numbered(due), coming),
            *await _others(self._records),
        ]

    def _numbered(self, rows: Sequence[Row | None]) -> list[Row | None]:
        """With the place of each version among those shown, the same in every store."""
        return [row and row._replace(version=self._number(row)) for row in rows]

    def _number(self, row: Row) -> int:
        shown = self._shown[row.key]
        if row.version not in shown:
            shown.append(row.version)
        return shown.index(row.version)


def _change(dice: random.Random, key: str, clock: FakeClock, kept: Collection[str]) -> Change:
    # A row that is made may have any version that it never had: it cannot be foretold.
    expected = dice.choice([ANY, 0, 0, _LAST, *_SEEN, *(_GROWN if key in kept else ())])
    if dice.random() < 0.3 and key not in kept:
        return Change(key, expected, None)
    alarm = None if dice.random() < 0.5 else clock.wall + dice.randrange(-5, 20)
    body = dice.randbytes(dice.choice([0, 1, 300]))
    return Change(key, expected, body, dice.choice(_BUCKETS), dice.randrange(3), alarm)


def _group(dice: random.Random, clock: FakeClock, kept: Collection[str]) -> Group:
    keys = dice.sample(_KEYS, dice.choice([0, 1, 1, 2, 8]))
    events = [dice.randbytes(4) for _ in range(dice.randrange(3))]
    counts = {name: dice.randrange(-2, 3) for name in dice.sample(_COUNTS, 2)}
    return Group([_change(dice, key, clock, kept) for key in keys], events, counts)


async def _others(records: Records) -> list[Any]:
    log = await records.log(0, 10_000)
    return [
        await records.counts("x", "", 9),
        await records.counts("", "x", 2),
        # Cursors may differ, and so may what is trimmed.
        [event for _, events in log.entries for event in events][-20:],
    ]


async def _compare(folder: Path, seed: int) -> None:
    dice, clock = random.Random(seed), FakeClock()
    async with AsyncExitStack() as stack:
        stores = []
        for kind in KINDS:
            place = folder / f"{seed}-{kind}"
            place.mkdir()
            records = await stack.enter_async_context(open_records(kind, place, clock))
            stores.append(_Store(records))
        applied = 0
        for _ in range(60):
            clock.wall += dice.random()
            kept = [key for key in stores[0].living if dice.random() < 0.5]  # in this call
            groups = [_group(dice, clock, kept) for _ in range(dice.randrange(12))]
            wanted, *others = [await store.swap(groups) for store in stores]
            applied += sum(wanted)
            assert others == [wanted] * len(others)
            wanted_state, *states = [await store.everything(kept) for store in stores]
            for state in states:
                assert state == wanted_state
        assert applied > 50


@pytest.mark.parametrize("seed", range(6))
def test_stores_agree(tmp_path: Path, seed: int) -> None:
    asyncio.run(_compare(tmp_path, seed))
