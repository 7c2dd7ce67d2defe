"""The notifier over a log whose tail was lost, as after a failover or a power cut."""

from __future__ import annotations

import asyncio

import pytest

from support.looking_at_redis import WatchedLink
from unit.redis.looking.test_notifier import (
    blocked,
    cursors,
    event,
    following,
    seqs,
    some,
    write,
)
from xqueue_redis import notifier as module
from xqueue_redis.events import packed
from xqueue_redis.notifier import RedisNotifier

pytestmark = pytest.mark.anyio

MANY = 120


async def rolled_back(link: WatchedLink, lost: int) -> None:
    """The last entries are gone, as on a replica that lagged behind them."""
    key = f"{link.prefix}events"
    found = await link.client.xrange(key)
    await link.client.delete(key)
    for id, fields in found[: len(found) - lost]:
        await link.client.xadd(key, fields, id=id)


@pytest.mark.parametrize("lost", [1, 2, 20])
@pytest.mark.parametrize("new", [0, 1, 3])
async def test_a_log_that_lost_its_tail_shows_a_gap_and_goes_on(
    link: WatchedLink, notifier: RedisNotifier, lost: int, new: int
) -> None:
    await write(link, *([event(n)] for n in range(MANY)))
    known = await cursors(notifier, MANY)
    await rolled_back(link, lost)
    await write(link, *([event(MANY + n)] for n in range(new)))
    async with following(notifier, after=known[-1]) as notices:
        # With as many new entries the log is as long as it was: nothing tells that others are gone.
        seen = await some(notices, 1 + new if new < lost else new)
        await write(link, [event(1000)])
        seen += await some(notices, 1)
    after = [*range(MANY, MANY + new), 1000]
    assert seqs(seen) == ([None, *after] if new < lost else after)
    for n, notice in enumerate(seen[:-1]):
        async with following(notifier, after=notice.cursor) as notices:
            assert seqs(await some(notices, len(seen) - n - 1)) == seqs(seen[n + 1 :])


async def test_a_follower_who_waits_goes_on_behind_a_lost_tail(
    link: WatchedLink, notifier: RedisNotifier
) -> None:
    await write(link, *([event(n)] for n in range(MANY)))
    async with following(notifier) as notices:
        waiting = asyncio.ensure_future(anext(notices))
        await blocked(link)
        await rolled_back(link, 3)
        assert seqs([await waiting]) == [None]
        # By a clock that is behind what was lost.
        last = (await link.client.xrevrange(f"{link.prefix}events", count=1))[0][0].decode()
        next_ = f"{last.partition('-')[0]}-{int(last.partition('-')[2]) + 1}"
        await link.client.xadd(f"{link.prefix}events", {"b": packed([event(500)])}, id=next_)
        assert seqs(await some(notices, 1)) == [500]


async def test_more_than_a_page_behind_a_lost_tail_shows_no_second_gap(
    link: WatchedLink, notifier: RedisNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    await write(link, *([event(n)] for n in range(MANY)))
    known = await cursors(notifier, MANY)
    await rolled_back(link, 20)
    await write(link, *([event(MANY + n)] for n in range(10)))
    async with following(notifier, after=known[-1]) as notices:
        assert seqs(await some(notices, 11)) == [None, *range(MANY, MANY + 10)]
        await write(link, [event(1000)])
        assert seqs(await some(notices, 1)) == [1000]
    await link.client.xtrim(f"{link.prefix}events", maxlen=1, approximate=False)
    async with following(notifier, after=known[-1]) as notices:
        assert seqs(await some(notices, 2)) == [None, 1000]


@pytest.mark.parametrize("behind", [2, 5])
async def test_entries_that_a_clock_behind_has_put_before_the_cursor_show_as_a_gap(
    link: WatchedLink, notifier: RedisNotifier, behind: int
) -> None:
    """The new primary lacks the last entry, and its clock is behind that of the former."""
    await write(link, *([event(n)] for n in range(MANY)))
    key = f"{link.prefix}events"
    last = int((await link.client.xrevrange(key, count=1))[0][0].partition(b"-")[0])

    async def add(n: int, later: int) -> None:
        await link.client.xadd(key, {"b": packed([event(n)])}, id=f"{last + later}-0")

    await add(200, later=1000)
    known = await cursors(notifier, MANY + 1)
    await rolled_back(link, 1)
    for n in range(behind):
        await add(300 + n, later=1 + n)
    await add(400, later=1001)
    async with following(notifier, after=known[-1]) as notices:
        seen = await some(notices, 2)
        assert seqs(seen) == [None, 400]
        await write(link, [event(1000)])
        assert seqs(await some(notices, 1)) == [1000]
    async with following(notifier, after=seen[0].cursor) as notices:
        assert seqs(await some(notices, 2)) == [400, 1000]
