"""Pages through the tasks in Redis."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from support.looking_at_redis import BEGAN, Tasks, WatchedLink
from xqueue_core.errors import ConfigError
from xqueue_core.task import AnyOutcome, HandBack, Parked, State, Success, Task
from xqueue_core.views import Filter, TaskInfo
from xqueue_redis import listing
from xqueue_redis.view import RedisView

pytestmark = pytest.mark.anyio


def task(id: str, lane: str = "", **more: object) -> Task:
    return Task(id=id, lane=lane or id.partition(":")[0], **more)  # type: ignore[arg-type]


def ids(infos: Iterable[TaskInfo]) -> list[str]:
    return [info.id for info in infos]


async def pages(view: RedisView, filter: Filter, limit: int) -> list[TaskInfo]:
    """All pages, one after the other."""
    found: list[TaskInfo] = []
    after = None
    for _ in range(100):
        page = await view.list(filter, after, limit)
        assert len(page.items) <= limit
        found += page.items
        after = page.next
        if after is None:
            return found
    raise AssertionError("the pages do not end")


async def ended(tasks: Tasks, lane: str, n: int, outcome: AnyOutcome) -> None:
    for id, token in await tasks.lease(lane, n):
        await tasks.settle(id, token, outcome)


async def every_state(link: WatchedLink, tasks: Tasks) -> dict[str, set[str]]:
    """Tasks in every place there is; the ids by where they are."""
    await tasks.put(*(task(f"a:done{n}") for n in range(3)))
    await ended(tasks, "a", 3, Success(b"1"))
    await tasks.put(task("b:parked0", key="k/1/"), task("b:parked1", key="k/1/"))
    await ended(tasks, "b", 2, Parked())
    await link.now(BEGAN + 1)
    await tasks.put(*(task(f"a:{name}") for name in ("back0", "back1", "held0", "held1")))
    back = (await tasks.lease("a", 4))[:2]
    await link.now(BEGAN + 2)
    await tasks.put(*(task(f"a:later{n}", delay=60.0 * n) for n in (1, 2)))
    await tasks.put(*(task(f"a:ready{n}", priority=n) for n in range(4)))
    await tasks.put(task("b:ready0"), task("other:ready0", "a"))
    for id, token in reversed(back):
        await tasks.settle(id, token, HandBack())
    return {
        "success": {f"a:done{n}" for n in range(3)},
        "processing": {"a:held0", "a:held1"},
        "scheduled": {"a:later1", "a:later2"},
        "pending": {"b:parked0", "b:parked1", "b:ready0", "other:ready0", "a:back0", "a:back1"}
        | {f"a:ready{n}" for n in range(4)},
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_show_every_task_once_in_a_stable_order(
    link: WatchedLink, tasks: Tasks, view: RedisView, limit: int
) -> None:
    known = await every_state(link, tasks)
    found = ids(await pages(view, Filter(), limit))
    assert sorted(found) == sorted(set().union(*known.values()))
    assert found == ids(await pages(view, Filter(), 100))
    waiting = "b:parked0 b:parked1 a:later1 a:later2 a:ready3 a:ready2 a:ready1 a:back0 a:back1"
    assert found[:9] == waiting.split()


@pytest.mark.parametrize("limit", [2, 100])
async def test_the_filter_by_state(
    link: WatchedLink, tasks: Tasks, view: RedisView, limit: int
) -> None:
    known = await every_state(link, tasks)
    for state, expected in known.items():
        filter = Filter(states=frozenset({State(state)}))
        assert set(ids(await pages(view, filter, limit))) == expected
    both = Filter(states=frozenset({State.SUCCESS, State.PENDING}))
    assert set(ids(await pages(view, both, limit))) == known["success"] | known["pending"]


async def test_the_filter_by_lane_type_and_id(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    known = await every_state(link, tasks)
    all_ids = set().union(*known.values())
    in_b = {id for id in all_ids if id.startswith("b:")}
    assert set(ids(await pages(view, Filter(lanes=frozenset("b")), 3))) == in_b
    assert ids(await pages(view, Filter(types=frozenset({"other"})), 3)) == ["other:ready0"]
    wanted = Filter(ids=frozenset({*in_b, "a:done0", "a:none"}), types=frozenset("ab"))
    for limit in (1, 2, 4, 10):
        assert ids(await pages(view, wanted, limit)) == sorted({*in_b, "a:done0"})


async def test_a_page_has_no_results(link: WatchedLink, tasks: Tasks, view: RedisView) -> None:
    await every_state(link, tasks)
    assert {info.result for info in await pages(view, Filter(), 100)} == {None}


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_those_that_came_back_and_those_in_the_stream_come_by_rank(
    link: WatchedLink, tasks: Tasks, view: RedisView, limit: int
) -> None:
    for n in range(8):
        await link.now(BEGAN + n)
        await tasks.put(task(f"a:{n}"))
    leased = await tasks.lease("a", 5)
    for id, token in (leased[2], leased[0], leased[4]):
        await tasks.settle(id, token, HandBack())
    waiting = Filter(states=frozenset({State.PENDING}))
    found = await pages(view, waiting, limit)
    assert ids(found) == ["a:0", "a:2", "a:4", "a:5", "a:6", "a:7"]
    assert [info.rank for info in found] == sorted(info.rank for info in found)
    assert (await view.list(waiting, None, limit)).in_order


async def test_of_one_rank_what_came_back_is_first(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(task("a:x"), task("a:y"))
    early, stream = f"{link.prefix}early:a:0", f"{link.prefix}r:a:0"
    [(entry, _), *_] = await link.client.xrange(stream, count=1)
    rank = int(entry.partition(b"-")[0])
    # Three that nobody knows lie at the rank of the first one.
    await link.client.zadd(early, {"a:1": rank, "a:2": rank, "a:3": rank})
    for n in ("1", "2", "3"):
        await link.client.hset(f"{link.prefix}t:a:{n}", "s", "?")
    for limit in (1, 2, 3, 4, 10):
        found = ids(await pages(view, Filter(), limit))
        assert found == ["a:1", "a:2", "a:3", "a:x", "a:y"]


async def test_a_listing_goes_on_where_tasks_have_moved_away(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(*(task(f"a:{n:02}", delay=60.0) for n in range(20)))
    first = await view.list(Filter(), None, 7)
    for n in (3, 6, 9, 19):
        await tasks.cancel(f"a:{n:02}")
    waiting = Filter(states=frozenset({State.SCHEDULED}))
    second = await view.list(waiting, first.next, 100)
    assert ids(second.items) == [f"a:{n:02}" for n in range(7, 19) if n != 9]


async def test_a_listing_goes_on_where_the_first_have_been_leased(
    tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(*(task(f"a:{n}") for n in range(6)))
    first = await view.list(Filter(), None, 2)
    assert ids(first.items) == ["a:0", "a:1"]
    await tasks.lease("a", 4)
    second = await view.list(Filter(), first.next, 10)
    assert ids(second.items) == ["a:4", "a:5", "a:0", "a:1", "a:2", "a:3"]


async def test_what_does_not_belong_there_is_passed_over(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(task("a:1"), task("a:2", delay=60.0))
    await tasks.put(task("a:gone"))
    await link.client.delete(f"{link.prefix}t:a:gone")
    await link.client.xadd(f"{link.prefix}r:a:0", {"x": "y"})
    await link.client.xadd(f"{link.prefix}r:a:0", {"i": "a:1"})  # not its entry
    await link.client.zadd(f"{link.prefix}later", {"a:1": 5, "a:none": 6, b"\xff": 7})
    await link.client.zadd(f"{link.prefix}done:a", {"a:2": 5})
    await link.client.set(f"{link.prefix}early:a:0", "of another client")
    await link.client.set(f"{link.prefix}quarantine", "of another client")
    await link.client.hset(f"{link.prefix}workers", "w", "?")
    await link.client.set(f"{link.prefix}held:w", "of another client")
    for limit in (1, 2, 10):
        assert ids(await pages(view, Filter(), limit)) == ["a:2", "a:1"]


async def test_many_lines_and_places_are_read_in_pieces(
    tasks: Tasks, view: RedisView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "NAMES", 4)
    monkeypatch.setattr(listing, "PLACES", 3)
    await tasks.put(*(task(f"t{n}:p", f"lane{n % 3}", key=f"k:{n}") for n in range(15)))
    for lane in ("lane0", "lane1", "lane2"):
        await ended(tasks, lane, 5, Parked())
    await tasks.put(*(task(f"t{n}:q", f"lane{n % 3}") for n in range(15)))
    expected = sorted(f"t{n}:{kind}" for n in range(15) for kind in "pq")
    for limit in (1, 4, 50):
        assert sorted(ids(await pages(view, Filter(), limit))) == expected
    for lane in ("lane0", "lane1", "lane2"):
        assert len(await pages(view, Filter(lanes=frozenset({lane})), 2)) == 10
    assert len(await pages(view, Filter(lanes=frozenset({"lane0", "lane2"})), 3)) == 20


async def test_a_page_that_finds_little_ends_and_says_where_to_go_on(
    tasks: Tasks, view: RedisView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "BUDGET", 10)
    await tasks.put(*(task(f"a:{n}") for n in range(25)), task("z:1", "a"))
    filter = Filter(types=frozenset({"z"}))
    first = await view.list(filter, None, 5)
    assert (first.items, first.next is None) == ([], False)
    assert ids(await pages(view, filter, 5)) == ["z:1"]


async def test_tasks_that_come_between_two_pages_do_not_disturb(
    tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(*(task(f"a:{n}") for n in range(6)))
    first = await view.list(Filter(), None, 3)
    await tasks.put(*(task(f"a:new{n}", priority=9) for n in range(3)))
    second = await view.list(Filter(), first.next, 10)
    assert ids(first.items) + ids(second.items) == [f"a:{n}" for n in range(6)]


#: Of a phase beyond the last; without a level; with an entry that is none; of no number.
WRONG = ["kgqg", "lAKhYcs_8AAAAAAAAMQB4Q==", "lAKhYcs_8AAAAAAAAMQDOTEt", "lADEAMt_-AAAAAAAAMQA"]


@pytest.mark.parametrize("text", ["", "???", "Zm9v", "ä", "gA==", *WRONG])
async def test_text_that_is_no_cursor_is_refused(view: RedisView, text: str) -> None:
    with pytest.raises(ConfigError, match="not a cursor"):
        await view.list(Filter(), text, 5)


async def test_reading_changes_nothing(link: WatchedLink, tasks: Tasks, view: RedisView) -> None:
    known = await every_state(link, tasks)
    await link.client.hset(f"{link.prefix}t:a:ready1", "s", "?")
    await link.client.set(f"{link.prefix}schedules", "of another client")
    await link.client.set(f"{link.prefix}types", "of another client")

    async def everything() -> dict[bytes, bytes]:
        return {key: await link.client.dump(key) for key in await link.client.keys("*")}

    before = await everything()
    await pages(view, Filter(), 3)
    await view.find(sorted(known["pending"]))
    await view.stats()
    await view.workers()
    await view.schedules()
    assert await everything() == before
