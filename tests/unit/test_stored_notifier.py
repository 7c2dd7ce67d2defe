"""The stored notifier: cursors, gaps, progress, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from support.slow_records import SlowRecords
from support.stores import FakeClock, open_records
from xqueue_core.abc import Notice
from xqueue_core.errors import ConfigError, Unavailable
from xqueue_core.stored import notifier as module
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.notifier import StoredNotifier, progress_key, read_event
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import Group, Records
from xqueue_core.task import Event, EventName, State
from xqueue_core.views import Filter

pytestmark = pytest.mark.anyio

ALL = Filter()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite-process"])
async def records(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Records]:
    async with open_records(request.param, tmp_path, clock) as records:
        yield records


@pytest.fixture
def bell() -> LocalBell:
    return LocalBell()


@pytest.fixture
def notifier(records: Records, bell: LocalBell) -> StoredNotifier:
    return StoredNotifier(records, bell, StoredOptions())


def event(n: int, type: str = "a", delivery: int = 0, worker: str = "", percent: int = 0) -> Event:
    name, state, data = EventName.PROGRESS, State.PROCESSING, {"percent": percent}
    return Event(f"{type}:{n}", n, name, state, 1.0, delivery=delivery, worker=worker, data=data)


async def write(records: Records, *entries: Sequence[Event]) -> None:
    """Log entries, each of one swap."""
    for entry in entries:
        await records.swap([Group(events=[msgspec.msgpack.encode(one) for one in entry])])


@asynccontextmanager
async def following(
    notifier: StoredNotifier, filter: Filter = ALL, after: str | None = None
) -> AsyncIterator[AsyncIterator[Notice]]:
    """A subscription, closed in the end."""
    async with aclosing(notifier.subscribe(filter, after)) as notices:  # type: ignore[type-var]
        with anyio.fail_after(10):
            yield notices


async def some(notices: AsyncIterator[Notice], n: int) -> list[Notice]:
    return [await anext(notices) for _ in range(n)]


def seqs(notices: Sequence[Notice]) -> list[int | None]:
    return [None if notice.event is None else notice.event.seq for notice in notices]


# -- following -----------------------------------------------------------------------------------


async def listening(bell: LocalBell) -> None:
    """Until somebody listens to the bell."""
    with anyio.fail_after(10):
        while not bell._listeners:
            await asyncio.sleep(0.001)


async def test_from_now_means_from_the_first_step(
    records: Records, notifier: StoredNotifier, bell: LocalBell
) -> None:
    await write(records, [event(1)])
    async with following(notifier) as notices:
        await write(records, [event(2)])
        first = asyncio.ensure_future(anext(notices))
        await listening(bell)
        await notifier.publish([event(3)])
        assert seqs([await first]) == [3]


async def test_events_come_as_they_are_written(records: Records, notifier: StoredNotifier) -> None:
    await write(records, [event(1), event(2)])
    async with following(notifier, after="1.0") as notices:
        assert seqs(await some(notices, 2)) == [1, 2]
        waiting = asyncio.ensure_future(anext(notices))
        await write(records, [event(3)])  # without a ring
        await write(records, [event(4)])
        assert seqs([await waiting, *await some(notices, 1)]) == [3, 4]


async def test_a_ring_wakes_a_subscriber_at_once(
    notifier: StoredNotifier, bell: LocalBell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)
    async with following(notifier, after="1.0") as notices:
        for n in range(20):
            waiting = asyncio.ensure_future(anext(notices))
            if n % 2:
                await listening(bell)
            await notifier.publish([event(n)])
            assert seqs([await waiting]) == [n]


async def test_every_cursor_goes_on_with_the_very_next_event(
    records: Records, notifier: StoredNotifier
) -> None:
    await write(records, [event(n) for n in range(3)], [event(3)], [event(n) for n in (4, 5)])
    async with following(notifier, after="1.0") as notices:
        seen = await some(notices, 6)
    assert seqs(seen) == list(range(6))
    for n, notice in enumerate(seen[:-1]):
        async with following(notifier, after=notice.cursor) as notices:
            assert seqs(await some(notices, 5 - n)) == list(range(n + 1, 6))


async def test_the_filter_decides_what_comes(records: Records, notifier: StoredNotifier) -> None:
    await write(records, [event(1), event(2, "b")], [event(3, "b"), event(4)])
    async with following(notifier, Filter(types=frozenset({"b"})), "1.0") as notices:
        assert seqs(await some(notices, 2)) == [2, 3]


async def test_more_entries_than_a_page_come_in_order(
    records: Records, notifier: StoredNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    await write(records, *([event(2 * n), event(2 * n + 1)] for n in range(10)))
    async with following(notifier, after="1.0") as notices:
        assert seqs(await some(notices, 20)) == list(range(20))


# -- gaps ----------------------------------------------------------------------------------------


async def trimmed(records: Records, clock: FakeClock, *kept: Sequence[Event]) -> None:
    """Three entries are gone, these are left."""
    await write(records, [event(1), event(2)], [event(3)], [event(4)])
    clock.wall += 100
    await write(records, *kept)
    await records.trim(clock.wall - 50)


@pytest.mark.parametrize("after", ["1.0", "1.1", "3.0"])
async def test_a_cursor_beyond_the_retention_shows_one_gap(
    records: Records, notifier: StoredNotifier, clock: FakeClock, after: str
) -> None:
    await trimmed(records, clock, [event(5)], [event(6)])
    async with following(notifier, after=after) as notices:
        seen = await some(notices, 3)
    assert seqs(seen) == [None, 5, 6]
    async with following(notifier, after=seen[0].cursor) as notices:
        assert seqs(await some(notices, 2)) == [5, 6]


async def test_a_cursor_at_the_edge_of_the_retention_shows_no_gap(
    records: Records, notifier: StoredNotifier, clock: FakeClock
) -> None:
    await trimmed(records, clock, [event(5)])
    async with following(notifier, after="4.0") as notices:
        assert seqs(await some(notices, 1)) == [5]


async def test_a_log_trimmed_to_nothing_shows_one_gap_and_goes_on(
    records: Records, notifier: StoredNotifier, clock: FakeClock
) -> None:
    await trimmed(records, clock)
    left = (await records.log(0, 10)).entries  # a store may keep some longer
    async with following(notifier, after="2.0") as notices:
        assert seqs(await some(notices, 1)) == [None]
        await write(records, [event(5)])
        assert seqs(await some(notices, len(left) + 1))[len(left) :] == [5]


async def test_a_cursor_of_a_log_that_was_lost_shows_a_gap(
    records: Records, notifier: StoredNotifier
) -> None:
    await write(records, [event(1)])
    async with following(notifier, after="900.3") as notices:
        assert seqs(await some(notices, 2)) == [None, 1]


async def test_an_event_that_cannot_be_decoded_is_a_gap(
    records: Records, notifier: StoredNotifier
) -> None:
    encode = msgspec.msgpack.encode
    await records.swap([Group(events=[encode(event(1)), b"\xc1", encode(event(2))])])
    async with following(notifier, after="1.0") as notices:
        assert seqs(await some(notices, 3)) == [1, None, 2]


@pytest.mark.parametrize("text", ["", "7", "7.", ".1", "-1.0", "1.0.0", "a.b", "1" * 50 + ".0"])
async def test_text_that_is_no_cursor_is_refused_at_once(
    notifier: StoredNotifier, text: str
) -> None:
    with pytest.raises(ConfigError, match="not a cursor"):
        notifier.subscribe(ALL, text)


# -- ending --------------------------------------------------------------------------------------


async def test_closing_and_cancelling_leave_nobody_listening(
    records: Records, notifier: StoredNotifier, bell: LocalBell
) -> None:
    await write(records, [event(1)])
    async with following(notifier, after="1.0") as notices:
        await some(notices, 1)
    async with following(notifier) as notices:
        waiting = asyncio.ensure_future(anext(notices))
        await listening(bell)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert not bell._listeners


async def test_a_failure_of_the_store_ends_it_and_the_last_cursor_goes_on(
    records: Records, bell: LocalBell
) -> None:
    slow = SlowRecords(records)
    notifier = StoredNotifier(slow, bell, StoredOptions())
    await write(records, [event(1), event(2)])
    async with following(notifier, after="1.0") as notices:
        [notice, _] = await some(notices, 2)
        slow.cut = True
        with pytest.raises(Unavailable):
            await anext(notices)
    slow.cut = False
    async with following(notifier, after=notice.cursor) as notices:
        assert seqs(await some(notices, 1)) == [2]


# -- progress ------------------------------------------------------------------------------------


async def latest(records: Records, id: str) -> Event | None:
    [row] = await records.load([progress_key(id)])
    return None if row is None else read_event(row.body)


async def test_progress_is_an_event_and_the_latest_of_each_task_is_kept(
    records: Records, notifier: StoredNotifier
) -> None:
    many = [event(n, percent=p) for p in (10, 90) for n in range(20)]
    await notifier.publish(many)
    async with following(notifier, after="1.0") as notices:
        seen = await some(notices, 40)
    assert sorted(n.event.id for n in seen if n.event) == sorted(one.id for one in many)
    for n in range(20):
        kept = await latest(records, f"a:{n}")
        assert kept is not None
        assert kept.data == {"percent": 90}


async def test_an_earlier_delivery_does_not_hide_a_later_ones_progress(
    records: Records, notifier: StoredNotifier
) -> None:
    await notifier.publish([event(1, delivery=7)])
    await notifier.publish([event(1, delivery=6)])
    kept = await latest(records, "a:1")
    assert kept is not None
    assert kept.delivery == 7


async def test_the_latest_progress_is_given_up_after_the_retention(
    records: Records, notifier: StoredNotifier, clock: FakeClock
) -> None:
    await notifier.publish([event(1)])
    clock.wall += StoredOptions().event_retention - 1
    assert (await records.due(10))[0] == []
    clock.wall += 2
    assert [row.key for row in (await records.due(10))[0]] == ["progress/a:1"]


async def test_publishers_who_meet_lose_no_event(records: Records, bell: LocalBell) -> None:
    slow = SlowRecords(records)
    notifier, other = (StoredNotifier(r, bell, StoredOptions()) for r in (slow, records))

    async def meanwhile() -> None:
        await other.publish([event(1, worker="other")])
        if sum(slow.calls.values()) < 20:
            slow.before_swap = meanwhile

    slow.before_swap = meanwhile
    await notifier.publish([event(1, worker="this")])
    async with following(notifier, after="1.0") as notices:
        found = await some(notices, 4)
    assert [n.event.worker for n in found if n.event] == ["other"] * 3 + ["this"]


async def test_publishing_nothing_does_nothing(records: Records, bell: LocalBell) -> None:
    slow = SlowRecords(records)
    await StoredNotifier(slow, bell, StoredOptions()).publish([])
    assert not slow.calls
