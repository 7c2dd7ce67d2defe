"""The stored view: finding, paging, the ledger, workers and schedules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from support.slow_records import SlowRecords
from support.stores import FakeClock, open_records
from xqueue_core.calls import Beat, Cancel, Order, Pause, Settle, Want
from xqueue_core.errors import ConfigError
from xqueue_core.stored import listing
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.notifier import StoredNotifier
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.records import ANY, Change, Group, Records
from xqueue_core.stored.view import StoredView
from xqueue_core.task import Event, EventName, Failure, Parked, RetryAt, Slot, State, Success, Task
from xqueue_core.views import Filter, TaskInfo, TypeStats

pytestmark = pytest.mark.anyio


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
def queue(records: Records) -> StoredQueue:
    return StoredQueue(records, LocalBell(), StoredOptions())


@pytest.fixture
def view(records: Records) -> StoredView:
    return StoredView(records, StoredOptions())


def task(id: str, lane: str = "", **more: object) -> Task:
    return Task(id=id, lane=lane or id.partition(":")[0], **more)  # type: ignore[arg-type]


class Worker:
    """Leases and settles, one call after the other."""

    def __init__(self, queue: StoredQueue, name: str = "w") -> None:
        self.queue = queue
        self.name = name
        self.call = 0

    async def lease(self, lane: str, n: int) -> list[tuple[str, int]]:
        await self.queue.extend(Beat(worker=self.name, answered=self.call), [])
        self.call += 1
        leased = await self.queue.lease([Want(lane, n)], n, self.call, self.name, 0)
        return [(one.task.id, one.token) for one in leased.deliveries]


async def every_state(queue: StoredQueue, clock: FakeClock) -> dict[str, set[str]]:
    """Tasks in every place there is; the ids by where they are."""
    worker = Worker(queue)
    await queue.put([task(f"a:done{n}") for n in range(3)])
    for id, token in await worker.lease("a", 3):
        await queue.settle([Settle(id, token, Success(b"1"))])
    await queue.put([task("b:parked0", key="k/1/"), task("b:parked1", key="k/1/")])
    for id, token in await worker.lease("b", 2):
        await queue.settle([Settle(id, token, Parked())])
    await queue.put([task("a:held0"), task("a:held1")])
    assert len(await worker.lease("a", 2)) == 2
    await queue.put([task(f"a:later{n}", delay=60.0 * n) for n in (1, 2)])
    await queue.put([task(f"a:ready{n}", priority=n) for n in range(4)])
    await queue.put([task("b:ready0"), task("other:ready0", "a")])
    clock.wall += 1
    return {
        "success": {f"a:done{n}" for n in range(3)},
        "processing": {"a:held0", "a:held1"},
        "scheduled": {"a:later1", "a:later2"},
        "pending": {"b:parked0", "b:parked1", "b:ready0", "other:ready0"}
        | {f"a:ready{n}" for n in range(4)},
    }


def ids(infos: Iterable[TaskInfo]) -> list[str]:
    return [info.id for info in infos]


async def pages(view: StoredView, filter: Filter, limit: int) -> list[TaskInfo]:
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


async def damage(records: Records, id: str, body: bytes = b"?") -> None:
    """Overwrite a task's row where it stands."""
    [row] = await records.load([f"t/{id}"])
    assert row is not None
    await records.swap([Group([Change(row.key, ANY, body, row.bucket, row.order)])])


# -- find ----------------------------------------------------------------------------------------


async def test_find_shows_all_there_is_to_know(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    await queue.put([task("a:1", headers={"h": "1"}, priority=4)])
    [(id, token)] = await Worker(queue).lease("a", 1)
    clock.wall += 2
    await queue.settle([Settle(id, token, Success(b"42"))])
    [info, none] = await view.find(["a:1", "a:none"])
    assert none is None
    assert info is not None
    assert (info.state, info.result, info.attempt, info.worker) == (State.SUCCESS, b"42", 1, "w")
    assert info.task == task("a:1", headers={"h": "1"}, priority=4)
    assert (info.started_at, info.finished_at) == (clock.wall - 2, clock.wall)
    assert [entry.how for entry in info.history] == ["success"]


async def test_find_shows_what_a_parked_task_waits_for(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    await every_state(queue, clock)
    [info] = await view.find(["b:parked0"])
    assert info is not None
    assert (info.state, info.waiting_for) == (State.PENDING, "key:k/1/")


async def test_find_shows_the_progress_of_the_present_delivery(
    records: Records, queue: StoredQueue, view: StoredView
) -> None:
    notifier = StoredNotifier(records, LocalBell(), StoredOptions())
    await queue.put([task("a:1", max_retry=3)])
    worker = Worker(queue)
    [(id, token)] = await worker.lease("a", 1)
    data = {"percent": 50.0, "done": None, "total": None, "message": "half", "at": 3.0}
    name, state = EventName.PROGRESS, State.PROCESSING
    await notifier.publish([Event(id, 0, name, state, 3.0, delivery=token, data=data)])
    [info] = await view.find([id])
    assert info is not None
    assert info.progress is not None
    assert (info.progress.percent, info.progress.message, info.progress.at) == (50.0, "half", 3.0)
    await queue.settle([Settle(id, token, RetryAt(0.0, Failure("exception")))])
    await queue.maintain(1.0)
    await worker.lease("a", 1)
    [info] = await view.find([id])
    assert info is not None
    assert (info.attempt, info.progress) == (2, None)


@pytest.mark.parametrize("body", [b"", b"?", b"R\xc1", b"R", b"Q\x90", b"T?"])
async def test_a_damaged_row_shows_as_quarantined(
    records: Records, queue: StoredQueue, view: StoredView, clock: FakeClock, body: bytes
) -> None:
    await every_state(queue, clock)
    places = {"a:ready0": "a", "b:parked0": "b", "a:later1": "a", "a:done0": "a", "a:held0": "a"}
    for id in places:
        await damage(records, id, body)
    for id, info in zip(places, await view.find(list(places)), strict=True):
        assert info is not None
        assert (info.id, info.lane, info.quarantined, info.task) == (id, places[id], True, None)
        assert info.reason
    listed = await pages(view, Filter(), 5)
    assert {info.id for info in listed if info.quarantined} == set(places)


async def test_a_row_in_quarantine_is_listed(
    records: Records, queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    await every_state(queue, clock)
    await damage(records, "a:ready3")
    await queue.control([Cancel("a:ready3")])  # finds it, and puts it in quarantine
    listed = [info for info in await pages(view, Filter(), 4) if info.quarantined]
    assert [(info.id, info.lane, info.state) for info in listed] == [
        ("a:ready3", "a", State.PENDING)
    ]
    assert (await view.stats()).total().quarantined == 1


# -- list ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_show_every_task_once_in_a_stable_order(
    queue: StoredQueue, view: StoredView, clock: FakeClock, limit: int
) -> None:
    known = await every_state(queue, clock)
    found = ids(await pages(view, Filter(), limit))
    assert sorted(found) == sorted(set().union(*known.values()))
    assert found == ids(await pages(view, Filter(), 100))


@pytest.mark.parametrize("limit", [2, 100])
async def test_the_filter_by_state(
    queue: StoredQueue, view: StoredView, clock: FakeClock, limit: int
) -> None:
    known = await every_state(queue, clock)
    for state, expected in known.items():
        filter = Filter(states=frozenset({State(state)}))
        assert set(ids(await pages(view, filter, limit))) == expected
    both = Filter(states=frozenset({State.SUCCESS, State.PENDING}))
    assert set(ids(await pages(view, both, limit))) == known["success"] | known["pending"]


async def test_the_filter_by_lane_type_and_id(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    known = await every_state(queue, clock)
    all_ids = set().union(*known.values())
    in_b = {id for id in all_ids if id.startswith("b:")}
    assert set(ids(await pages(view, Filter(lanes=frozenset("b")), 3))) == in_b
    assert ids(await pages(view, Filter(types=frozenset({"other"})), 3)) == ["other:ready0"]
    wanted = Filter(ids=frozenset({*in_b, "a:done0", "a:none"}), types=frozenset("ab"))
    for limit in (1, 2, 4, 10):
        assert ids(await pages(view, wanted, limit)) == sorted({*in_b, "a:done0"})


async def test_a_page_has_no_results(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    await every_state(queue, clock)
    assert {info.result for info in await pages(view, Filter(), 100)} == {None}


async def test_many_lines_and_names_are_read_in_pieces(
    queue: StoredQueue, view: StoredView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "NAMES", 4)
    worker = Worker(queue)
    await queue.put([task(f"t{n}:p", f"lane{n % 3}", key=f"k{n}") for n in range(15)])
    for lane in ("lane0", "lane1", "lane2"):
        parked = [Settle(*one, Parked()) for one in await worker.lease(lane, 5)]
        await queue.settle(parked)
    await queue.put([task(f"t{n}:q", f"lane{n % 3}") for n in range(15)])
    expected = sorted(f"t{n}:{kind}" for n in range(15) for kind in "pq")
    for limit in (1, 4, 50):
        assert sorted(ids(await pages(view, Filter(), limit))) == expected
    one = Filter(lanes=frozenset({"lane1"}))
    assert len(await pages(view, one, 2)) == 10
    assert (await view.stats()).total().parked == 15


async def test_a_page_that_finds_little_ends_and_says_where_to_go_on(
    queue: StoredQueue, view: StoredView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "BUDGET", 10)
    await queue.put([task(f"a:{n}") for n in range(25)] + [task("z:1", "a")])
    filter = Filter(types=frozenset({"z"}))
    first = await view.list(filter, None, 5)
    assert (first.items, first.next is None) == ([], False)
    assert ids(await pages(view, filter, 5)) == ["z:1"]


async def test_tasks_that_come_between_two_pages_do_not_disturb(
    queue: StoredQueue, view: StoredView
) -> None:
    await queue.put([task(f"a:{n}") for n in range(6)])
    first = await view.list(Filter(), None, 3)
    await queue.put([task(f"a:new{n}", priority=9) for n in range(3)])
    second = await view.list(Filter(), first.next, 10)
    assert ids(first.items) + ids(second.items) == [f"a:{n}" for n in range(6)]


@pytest.mark.parametrize("text", ["", "???", "Zm9v", "ä", "gA=="])
async def test_text_that_is_no_cursor_is_refused(view: StoredView, text: str) -> None:
    with pytest.raises(ConfigError, match="not a cursor"):
        await view.list(Filter(), text, 5)


async def test_reading_changes_nothing(
    records: Records, queue: StoredQueue, clock: FakeClock
) -> None:
    known = await every_state(queue, clock)
    await damage(records, "a:ready1")
    slow = SlowRecords(records)
    view = StoredView(slow, StoredOptions())
    await pages(view, Filter(), 3)
    await view.find(sorted(known["pending"]))
    await view.stats()
    await view.workers()
    await view.schedules()
    assert slow.calls["swap"] == slow.calls["trim"] == 0


# -- the ledger ----------------------------------------------------------------------------------


async def test_stats_count_every_lane_and_type(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    await every_state(queue, clock)
    await queue.control([Pause("b")])
    stats = await view.stats()
    assert stats.at == clock.wall
    assert {name: lane.paused for name, lane in stats.lanes.items()} == {"a": False, "b": True}
    assert stats.lanes["a"].types["other"] == TypeStats(accepted=1, pending=1)
    assert stats.lanes["a"].types["a"] == TypeStats(
        accepted=11, scheduled=2, pending=4, processing=2, success=3
    )
    assert stats.lanes["b"].types["b"] == TypeStats(accepted=3, pending=3, parked=2)
    assert stats.total().conserved


async def test_the_oldest_is_found_on_every_level_and_the_parked_do_not_count(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    began = clock.wall
    for n, priority in enumerate((5, 0, 9, 3)):
        clock.wall = began + n
        await queue.put([task(f"a:{n}", priority=priority)])
    assert (await view.stats()).lanes["a"].oldest_at == began
    for n in range(4):
        await queue.control([Cancel(f"a:{n}")])
        oldest = began + n + 1 if n < 3 else None
        assert (await view.stats()).lanes["a"].oldest_at == oldest
    worker = Worker(queue)
    await queue.put([task("a:parked", key="k")])
    [one] = await worker.lease("a", 1)
    await queue.settle([Settle(*one, Parked())])
    assert (await view.stats()).lanes["a"].oldest_at is None


async def test_an_empty_store_has_an_empty_ledger(view: StoredView) -> None:
    stats = await view.stats()
    assert stats.lanes == {}
    assert stats.total() == TypeStats()
    assert (await view.list(Filter(), None, 10)).items == []
    assert list(await view.workers()) == []
    assert list(await view.schedules()) == []


# -- workers and schedules -------------------------------------------------------------------------


async def test_workers_show_their_beat_orders_and_silence(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    for name in ("w1", "w2"):
        await queue.extend(Beat(worker=name, lease=15.0, slots=7), [])
    await queue.control([Order("w2", quiet=True)])
    clock.steady += 10
    clock.wall += 10
    await queue.extend(Beat(worker="w2", lease=15.0), [])
    clock.steady += 6
    clock.wall += 6
    first, second = await view.workers()
    assert (first.beat.worker, first.beat.slots, first.seen_ago) == ("w1", 7, 16.0)
    assert (first.alive, first.quiet, first.stop) == (False, False, False)
    assert (second.seen_ago, second.alive, second.quiet, second.stop) == (6.0, True, True, False)
    # The broker has started anew: who was heard of a moment ago has had no time to beat again.
    clock.epoch, clock.steady = "rebooted", 1.0
    assert [info.alive for info in await view.workers()] == [False, True]
    assert (await view.workers())[1].seen_ago == 6.0
    clock.wall += 10
    assert [info.alive for info in await view.workers()] == [False, False]


async def test_schedules_that_have_fired(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    at = clock.wall - 5
    await queue.put([task("a:1", slot=Slot("nightly", 3, at), run_at=at)])
    [schedule] = await view.schedules()
    assert (schedule.name, schedule.version, schedule.last) == ("nightly", 3, at)
