"""Random sequences of calls end the same on every store."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from support.stores import KINDS, FakeClock, open_records
from xqueue_core.stored.records import ANY, Change, Group, Records, Scan

_KEYS = [f"key {number}" for number in range(12)]
_BUCKETS = ["", "one", "two"]
_COUNTS = ["x", "x/1", "x/2", "y"]


def _change(dice: random.Random, key: str, clock: FakeClock) -> Change:
    expected = dice.choice([ANY, 0, 0, 1, 1, 2, 3])
    if dice.random() < 0.2:
        return Change(key, expected, None)
    alarm = None if dice.random() < 0.5 else clock.wall + dice.randrange(-5, 20)
    body = dice.randbytes(dice.choice([0, 1, 300]))
    return Change(key, expected, body, dice.choice(_BUCKETS), dice.randrange(3), alarm)


def _group(dice: random.Random, clock: FakeClock) -> Group:
    keys = dice.sample(_KEYS, dice.choice([0, 1, 1, 2, 8]))
    events = [dice.randbytes(4) for _ in range(dice.randrange(3))]
    counts = {name: dice.randrange(-2, 3) for name in dice.sample(_COUNTS, 2)}
    return Group([_change(dice, key, clock) for key in keys], events, counts)


async def _everything(records: Records) -> list[Any]:
    scans = [Scan(bucket, 5, (0, "key 3")) for bucket in _BUCKETS]
    log = await records.log(0, 10_000)
    return [
        await records.load(_KEYS),
        [list(rows) for rows in await records.scan(scans)],
        await records.due(4),
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
            stores.append(await stack.enter_async_context(open_records(kind, place, clock)))
        applied = 0
        for _ in range(60):
            clock.wall += dice.random()
            groups = [_group(dice, clock) for _ in range(dice.randrange(12))]
            wanted, *others = [list(await store.swap(groups)) for store in stores]
            applied += sum(wanted)
            assert others == [wanted] * len(others)
            wanted_state, *states = [await _everything(store) for store in stores]
            for state in states:
                assert state == wanted_state
        assert applied > 50


@pytest.mark.parametrize("seed", range(6))
def test_stores_agree(tmp_path: Path, seed: int) -> None:
    asyncio.run(_compare(tmp_path, seed))
