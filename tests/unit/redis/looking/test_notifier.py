"""The notifier of the Redis backend: cursors, gaps, progress, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import anyio
import msgspec
import pytest

from support.looking_at_redis import Tasks, WatchedLink
from xqueue_core.abc import Notice
from xqueue_core.errors import ConfigError
from xqueue_core.task import Event, EventName, State, Success, Task
from xqueue_core.views import Filter
from xqueue_redis import notifier as module
from xqueue_redis.events import packed
from xqueue_redis.notifier import RedisNotifier
from xqueue_redis.reading import latest_event

pytestmark = pytest.mark.anyio

ALL = Filter()
START = "0-1.0.1"


def event(n: int, type: str = "a", delivery: int = 0, worker: str = "", percent: int = 0) -> Event:
    name, state, data = EventName.PROGRESS, State.PROCESSING, {"percent": percent}
    return Event(f"{type}:{n}", n, name, state, 1.0, delivery=delivery, worker=worker, data=data)


async def write(link: WatchedLink, *entries: Sequence[Event]) -> None:
    """Entries, each of one script."""
    for entry in entries:
        await link.client.xadd(f"{link.prefix}events", {"b": packed(entry)})


@asynccontextmanager
async def following(
    notifier: RedisNotifier, filter: Filter = ALL, after: str | None = None
) -> AsyncIterator[AsyncIterator[Notice]]:
    """A subscription, closed in the end."""
    async with aclosing(notifier.subscribe(filter, after)) as notices:  # type: ignore[type-var]
        with anyio.fail_after(10):
            yield notices


async def some(notices: AsyncIterator[Notice], n: int) -> list[Notice]:
    return [await anext(notices) for _ in range(n)]


def seqs(notices: Sequence[Notice]) -> list[int | None]:
    return [None if notice.event is None else notice.event.seq for notice in notices]


async def blocked(link: WatchedLink) -> None:
    """Until the server has somebody who waits."""
    with anyio.fail_after(10):
        while (await link.client.info("clients"))["blocked_clients"] == 0:
            await asyncio.sleep(0.001)


# -- following -----------------------------------------------------------------------------------


async def test_from_now_means_from_the_first_step(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    await write(link, [event(1)])
    async with following(notifier) as notices:
        await write(link, [event(2)])
        first = asyncio.ensure_future(anext(notices))
        await blocked(link)
        await notifier.publish([event(3)])
        assert seqs([await first]) == [3]


async def test_transitions_that_scripts_tell_are_events(
    tasks: Tasks, notifier: RedisNotifier
) -> None:
    await tasks.put(Task(id="a:1", lane="a"))
    [(id, token)] = await tasks.lease("a", 1)
    await tasks.settle(id, token, Success(b"1"))
    async with following(notifier, after=START) as notices:
        seen = [one.event for one in await some(notices, 3) if one.event]
    assert [(one.seq, one.name, one.state) for one in seen] == [
        (1, EventName.ACCEPTED, State.PENDING),
        (2, EventName.LEASED, State.PROCESSING),
        (3, EventName.FINISHED, State.SUCCESS),
    ]
    assert (seen[1].lane, seen[1].attempt, seen[1].delivery, seen[1].worker) == ("a", 1, token, "w")


async def test_events_come_as_they_are_written(link: WatchedLink, notifier: RedisNotifier) -> None:
    await write(link, [event(1), event(2)])
    async with following(notifier, after=START) as notices:
        assert seqs(await some(notices, 2)) == [1, 2]
        for n in range(3, 20):
            waiting = asyncio.ensure_future(anext(notices))
            if n % 2:
                await blocked(link)
            await write(link, [event(n)])
            assert seqs([await waiting]) == [n]


async def test_a_wait_that_ends_with_nothing_begins_anew(
    link: WatchedLink, notifier: RedisNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 10)
    async with following(notifier) as notices:
        waiting = asyncio.ensure_future(anext(notices))
        with anyio.fail_after(10):
            while link.calls["notify/read"] < 5:
                await asyncio.sleep(0.001)
        await write(link, [event(1)])
        assert seqs([await waiting]) == [1]


async def test_every_cursor_goes_on_with_the_very_next_event(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    await write(link, [event(n) for n in range(3)], [event(3)], [event(n) for n in (4, 5)])
    async with following(notifier, after=START) as notices:
        seen = await some(notices, 6)
    assert seqs(seen) == list(range(6))
    for n, notice in enumerate(seen[:-1]):
        async with following(notifier, after=notice.cursor) as notices:
            assert seqs(await some(notices, 5 - n)) == list(range(n + 1, 6))


async def test_the_filter_decides_what_comes(link: WatchedLink, notifier: RedisNotifier) -> None:
    await write(link, [event(1), event(2, "b")], [event(3, "b"), event(4)])
    async with following(notifier, Filter(types=frozenset({"b"})), START) as notices:
        assert seqs(await some(notices, 2)) == [2, 3]


async def test_more_entries_than_a_page_come_in_order(
    link: WatchedLink, notifier: RedisNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    await write(link, *([event(2 * n), event(2 * n + 1)] for n in range(10)))
    async with following(notifier, after=START) as notices:
        assert seqs(await some(notices, 20)) == list(range(20))


# -- gaps ----------------------------------------------------------------------------------------


async def cursors(notifier: RedisNotifier, n: int) -> list[str]:
    """The cursors behind the first n events."""
    async with following(notifier, after=START) as notices:
        return [one.cursor for one in await some(notices, n)]


async def trimmed(link: WatchedLink, notifier: RedisNotifier, *kept: Sequence[Event]) -> list[str]:
    """Three entries are gone, these are left. The cursors behind the events of those."""
    await write(link, [event(1), event(2)], [event(3)], [event(4)])
    known = [START, *await cursors(notifier, 4)]
    await write(link, *kept)
    await link.client.xtrim(f"{link.prefix}events", maxlen=len(kept), approximate=False)
    return known


@pytest.mark.parametrize("behind", [0, 1, 2, 3])
async def test_a_cursor_beyond_the_retention_shows_one_gap(
    link: WatchedLink, notifier: RedisNotifier, behind: int
) -> None:
    known = await trimmed(link, notifier, [event(5)], [event(6)])
    async with following(notifier, after=known[behind]) as notices:
        seen = await some(notices, 3)
    assert seqs(seen) == [None, 5, 6]
    async with following(notifier, after=seen[0].cursor) as notices:
        assert seqs(await some(notices, 2)) == [5, 6]


async def test_a_cursor_at_the_edge_of_the_retention_shows_no_gap(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    known = await trimmed(link, notifier, [event(5)])
    async with following(notifier, after=known[4]) as notices:
        assert seqs(await some(notices, 1)) == [5]


async def test_a_log_trimmed_to_nothing_shows_a_gap_only_to_those_who_missed_something(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    known = await trimmed(link, notifier)
    async with (
        following(notifier, after=known[3]) as missed,
        following(notifier, after=known[4]) as nothing,
        following(notifier) as now,
    ):
        assert seqs(await some(missed, 1)) == [None]
        waiting = [asyncio.ensure_future(anext(one)) for one in (missed, nothing, now)]
        await blocked(link)
        while link.calls["notify/read"] < 7:
            await asyncio.sleep(0.001)
        await write(link, [event(5)])
        assert seqs([await one for one in waiting]) == [5, 5, 5]


async def test_a_log_that_was_lost_shows_a_gap(link: WatchedLink, notifier: RedisNotifier) -> None:
    await write(link, [event(1)], [event(2), event(3)], [event(4)])
    known = await cursors(notifier, 4)
    key = f"{link.prefix}events"

    async def anew(*ids: str) -> None:
        await link.client.delete(key)
        for n, id in enumerate(ids):
            await link.client.xadd(key, {"b": packed([event(n)])}, id=id)

    later = [f"99{n:011}-0" for n in range(9)]
    for begun in (["5-1"], later[:1], later[:2], later[:4], later):
        await anew(*begun)
        for cursor in known:
            async with following(notifier, after=cursor) as notices:
                assert seqs(await some(notices, 2)) == [None, 0]
    await anew("5-1", later[0])
    async with following(notifier, after=known[-1]) as notices:
        assert seqs(await some(notices, 3)) == [None, 0, 1]
    await anew()
    async with following(notifier, after=known[0]) as notices:
        assert seqs(await some(notices, 1)) == [None]


async def test_a_follower_who_waits_notices_that_the_log_was_lost(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    await write(link, [event(1)])
    async with following(notifier) as notices:
        waiting = asyncio.ensure_future(anext(notices))
        await blocked(link)
        await link.client.delete(f"{link.prefix}events")
        await write(link, [event(2)])
        assert seqs([await waiting]) == [None]
        assert seqs(await some(notices, 1)) == [2]


async def test_what_cannot_be_decoded_is_a_gap(link: WatchedLink, notifier: RedisNotifier) -> None:
    key, encode, whole = f"{link.prefix}events", msgspec.msgpack.encode, msgspec.msgpack.decode
    await link.client.xadd(
        key, {"b": encode([*whole(packed([event(1)])), 7, *whole(packed([event(2)]))])}
    )
    await link.client.xadd(key, {"b": b"\xc1"})
    await link.client.xadd(key, {"of": "another client"})
    await write(link, [event(3)])
    async with following(notifier, after=START) as notices:
        seen = await some(notices, 6)
    assert seqs(seen) == [1, None, 2, None, None, 3]
    async with following(notifier, after=seen[3].cursor) as notices:
        assert seqs(await some(notices, 2)) == [None, 3]


async def test_a_key_of_another_client_in_its_place_is_no_log(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    await write(link, [event(1)])
    [cursor] = await cursors(notifier, 1)
    await link.client.delete(f"{link.prefix}events")
    await link.client.set(f"{link.prefix}events", "of another client")
    async with following(notifier, after=cursor) as notices:
        assert seqs(await some(notices, 1)) == [None]
        await notifier.publish([event(2)])  # moves it aside
        assert seqs(await some(notices, 1)) == [2]


NUMBERS = ["1" * 30 + "-0.0.1", f"{2**64}-0.0.1", f"0-{2**64}.0.1", "5-1.0.٣"]


@pytest.mark.parametrize(
    "text", ["", "7", "7-1", "7-1.0", "-1.0.1", "7-.0.1", "a-b.0.1", "7-1.0.1.0", *NUMBERS]
)
async def test_text_that_is_no_cursor_is_refused_at_once(
    notifier: RedisNotifier, text: str
) -> None:
    with pytest.raises(ConfigError, match="not a cursor"):
        notifier.subscribe(ALL, text)


# -- ending --------------------------------------------------------------------------------------


async def test_closing_and_cancelling_leave_nobody_waiting(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    await write(link, [event(1)])
    async with following(notifier, after=START) as notices:
        await some(notices, 1)
        assert link.blocked == 0
    async with following(notifier) as notices:
        waiting = asyncio.ensure_future(anext(notices))
        await blocked(link)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert link.blocked == 0


# -- progress ------------------------------------------------------------------------------------


async def latest(link: WatchedLink, id: str) -> Event | None:
    kept = await link.client.hget(f"{link.prefix}t:{id}", "p")
    return None if kept is None else latest_event(kept)


async def test_progress_is_an_event_and_the_latest_of_each_task_is_kept(
    link: WatchedLink, tasks: Tasks, notifier: RedisNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVENTS", 7)
    await tasks.put(*(Task(id=f"a:{n}", lane="a") for n in range(20)))
    known = await cursors(notifier, 20)
    many = [event(n, percent=p) for p in (10, 90) for n in range(20)]
    await notifier.publish(many)
    async with following(notifier, after=known[-1]) as notices:
        assert [one.event for one in await some(notices, 40)] == many
    for n in range(20):
        assert await latest(link, f"a:{n}") == many[20 + n]


async def test_data_of_any_kind_gets_through(
    link: WatchedLink, tasks: Tasks, notifier: RedisNotifier
) -> None:
    await tasks.put(Task(id="a:1", lane="a"))
    told = msgspec.structs.replace(
        event(1), data={"raw": b"\x00\xff", "none": None, "deep": [{"1": []}], "text": "ä"}
    )
    async with following(notifier) as notices:
        waiting = asyncio.ensure_future(anext(notices))
        await blocked(link)
        await notifier.publish([told])
        assert (await waiting).event == told
    assert await latest(link, "a:1") == told


async def test_an_earlier_delivery_does_not_hide_a_later_ones_progress(
    link: WatchedLink, tasks: Tasks, notifier: RedisNotifier
) -> None:
    await tasks.put(Task(id="a:1", lane="a"))
    early = 1_800_000_000_000_001
    for delivery in (early + 1, early):
        await notifier.publish([event(1, delivery=delivery)])
        kept = await latest(link, "a:1")
        assert kept is not None
        assert kept.delivery == early + 1


async def test_progress_of_a_task_that_is_not_there_leaves_nothing_but_an_event(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    await link.client.hset(f"{link.prefix}t:a:2", "x", "stone")
    await link.client.set(f"{link.prefix}t:a:3", "of another client")
    before = set(await link.client.keys("*"))
    await notifier.publish([event(n) for n in (1, 2, 3)])
    events = f"{link.prefix}events".encode()
    assert set(await link.client.keys("*")) == before | {events}
    assert await link.client.hkeys(f"{link.prefix}t:a:2") == [b"x"]


async def test_publishing_nothing_does_nothing(link: WatchedLink, notifier: RedisNotifier) -> None:
    await notifier.publish([])
    assert not link.calls


async def test_following_writes_nothing(link: WatchedLink, notifier: RedisNotifier) -> None:
    before = await link.client.dbsize()
    async with following(notifier) as notices:
        waiting = asyncio.ensure_future(anext(notices))
        await blocked(link)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert await link.client.dbsize() == before
