"""A store that is lent to one opening refuses when that has ended, and goes on for others."""

from __future__ import annotations

import pytest

from xqueue_core.abc import Faces
from xqueue_core.errors import Refused
from xqueue_core.stored import faces
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.lending import lender, lent
from xqueue_core.stored.records import ABSENT, Change, Group, Records, Scan
from xqueue_memory import MemoryRecords

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _refusals(records: Records) -> list[str]:
    """What a store says to its nine calls where it refuses them."""
    calls = (
        lambda: records.now(),
        lambda: records.load(["a"]),
        lambda: records.swap([Group([Change("a", ABSENT, b"1")])]),
        lambda: records.scan([Scan("b", 1)]),
        lambda: records.outline([Scan("b", 1)]),
        lambda: records.due(1),
        lambda: records.counts("", "", 1),
        lambda: records.log(None, 1),
        lambda: records.trim(0.0),
    )
    said: list[str] = []
    for call in calls:
        try:
            await call()
        except Refused as error:
            said.append(str(error))
    return said


async def test_it_is_the_store_itself_until_its_context_ends() -> None:
    store = MemoryRecords()
    with lent(store, "the store") as first, lent(store, "the store") as second:
        assert await _refusals(first) == []
        assert await second.load(["a"]) == await store.load(["a"]) != [None]
        assert first.load == store.load  # which costs a call nothing
    closed = "the store is closed: it was used after its context had ended"
    assert await _refusals(first) == await _refusals(second) == [closed] * 9
    assert await _refusals(store) == []


async def test_it_is_called_by_the_name_of_the_store() -> None:
    store = MemoryRecords()
    with lent(store, "the store") as records:
        made: Faces = faces(records, LocalBell())
        assert (await made.queue.describe())["store"] == "MemoryRecords"
    assert lender(records) is store is lender(store)
    with pytest.raises(Refused):
        await made.queue.describe()
