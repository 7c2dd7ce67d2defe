"""The view of the Redis backend: finding, the ledger, workers and schedules."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from support.looking_at_redis import BEGAN, Tasks, WatchedLink
from xqueue_core.calls import Beat
from xqueue_core.recurring.standing import Standing
from xqueue_core.task import (
    Event,
    EventName,
    Failed,
    Failure,
    HandBack,
    Parked,
    State,
    Success,
    Task,
)
from xqueue_core.views import Filter, LaneStats, TaskInfo, TypeStats
from xqueue_redis import reading
from xqueue_redis.notifier import RedisNotifier
from xqueue_redis.view import RedisView

pytestmark = pytest.mark.anyio

pack = msgspec.msgpack.Encoder().encode


def task(id: str, lane: str = "a", **more: object) -> Task:
    return Task(id=id, lane=lane, **more)  # type: ignore[arg-type]


async def one(view: RedisView, id: str) -> TaskInfo:
    [info] = await view.find([id])
    return cast("TaskInfo", info)


# -- find ----------------------------------------------------------------------------------------


async def test_find_shows_all_there_is_to_know(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(task("a:1", headers={"h": "1"}))
    await link.now(BEGAN + 1)
    [(id, token)] = await tasks.lease("a", 1)
    await link.now(BEGAN + 3)
    await tasks.settle(id, token, Success(b"\x00\xff42"))
    none, info = await view.find(["a:none", "a:1"])
    assert none is None
    assert info is not None
    assert info.task == task("a:1", headers={"h": "1"})
    assert (info.state, info.result) == (State.SUCCESS, b"\x00\xff42")
    assert (info.attempt, info.worker, info.delivery, info.seq) == (1, "w", token, 3)
    assert (info.accepted_at, info.started_at, info.finished_at) == (BEGAN, BEGAN + 1, BEGAN + 3)
    assert [(entry.how, entry.ended_at) for entry in info.history] == [("success", BEGAN + 3)]


async def test_find_shows_why_an_attempt_failed(tasks: Tasks, view: RedisView) -> None:
    await tasks.put(task("a:1", max_retry=0))
    [(id, token)] = await tasks.lease("a", 1)
    await tasks.settle(id, token, Failed(Failure("exception", message="boom")))
    info = await one(view, "a:1")
    assert info.failure is not None
    assert (info.state, info.failure.message, info.reason) == (State.FAILED, "boom", "exception")


async def test_find_shows_what_a_parked_task_waits_for(tasks: Tasks, view: RedisView) -> None:
    await tasks.put(task("a:1", key="k/1/"))
    [(id, token)] = await tasks.lease("a", 1)
    await tasks.settle(id, token, Parked())
    info = await one(view, "a:1")
    assert (info.state, info.waiting_for) == (State.PENDING, "key:k/1/")


async def test_many_large_tasks_are_found_in_parts(
    link: WatchedLink, tasks: Tasks, view: RedisView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BYTES", 10_000)
    monkeypatch.setattr(reading, "TASKS", 20)
    await tasks.put(*(task(f"a:{n}", payload=b"x" * 3_000) for n in range(30)))
    ids = [f"a:{n}" for n in (*range(30), 7, 99)]
    found = await view.find(ids)
    assert [info and info.id for info in found] == [*ids[:-1], None]
    assert 8 <= link.calls["view/find"] <= 12
    assert await view.find([]) == []


async def test_find_shows_the_progress_of_the_present_delivery(
    tasks: Tasks, view: RedisView, notifier: RedisNotifier
) -> None:
    await tasks.put(task("a:1"))
    [(id, token)] = await tasks.lease("a", 1)
    data = {"percent": 50.0, "done": None, "total": None, "message": "half"}
    name, state = EventName.PROGRESS, State.PROCESSING
    await notifier.publish([Event(id, 0, name, state, 3.0, delivery=token, data=data)])
    progress = (await one(view, id)).progress
    assert progress is not None
    assert (progress.percent, progress.message, progress.at) == (50.0, "half", 3.0)
    await tasks.settle(id, token, HandBack())
    await tasks.put(task("a:2"))
    await tasks.cancel(id)
    assert (await one(view, id)).progress is not None  # that of its last delivery


async def test_progress_of_an_earlier_delivery_is_not_shown(
    link: WatchedLink, tasks: Tasks, view: RedisView, notifier: RedisNotifier
) -> None:
    await tasks.put(task("a:1"))
    [(id, token)] = await tasks.lease("a", 1)
    name, state = EventName.PROGRESS, State.PROCESSING
    data = {"percent": 50.0}
    early = Event(id, 0, name, state, 3.0, delivery=token - 1, data=data)
    await notifier.publish([early])
    assert (await one(view, id)).progress is None
    await link.client.hset(f"{link.prefix}t:{id}", "p", b"1:\xc1")
    assert (await one(view, id)).progress is None


async def test_a_waiting_task_tells_when_it_expires(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(
        task("a:now", queue_timeout=60.0),
        task("a:later", queue_timeout=60.0, delay=100.0),
        task("a:never"),
    )

    async def left() -> list[float]:
        found = await view.find(["a:now", "a:later", "a:never"])
        return [info.expires_at - BEGAN if info and info.expires_at else 0.0 for info in found]

    lanes = f"{link.prefix}lanes"
    assert await left() == pytest.approx([60.0, 160.0, 0.0])
    await link.client.hset(lanes, "a", pack((True, 0.0, BEGAN)))
    await link.now(BEGAN + 30)
    assert await left() == pytest.approx([90.0, 160.0, 0.0])  # it stands still
    await link.client.hset(lanes, "a", pack((False, 30.0, 0.0)))
    assert [id for id, _ in await tasks.lease("a", 1)] == ["a:now"]
    assert await left() == pytest.approx([0.0, 160.0, 0.0])  # what was leased does not wait
    await link.client.delete(lanes)
    await link.client.set(lanes, "of another client")
    assert await left() == pytest.approx([0.0, 160.0, 0.0])


# -- what cannot be read ---------------------------------------------------------------------------


async def spoil(link: WatchedLink, id: str, how: str) -> None:
    """Damage a task's record where it stands."""
    key = f"{link.prefix}t:{id}"
    if how == "type":
        await link.client.delete(key)
        await link.client.set(key, "of another client")
    elif how == "envelope":
        await link.client.hset(key, "e", b"\xc1")
    elif how == "no envelope":
        await link.client.hdel(key, "e")
    elif how == "no row":
        await link.client.hdel(key, "s")
    else:
        await link.client.hset(key, "s", how.encode("latin-1"))


@pytest.mark.parametrize("how", ["", "?", "\x90", "type", "envelope", "no envelope", "no row"])
async def test_a_damaged_record_shows_as_quarantined(
    link: WatchedLink, tasks: Tasks, view: RedisView, how: str
) -> None:
    await link.client.hset(f"{link.prefix}types", mapping={"b": "a"})
    await tasks.put(task("b:held"), task("b:done"), task("b:later", delay=9.0), task("b:ready"))
    await tasks.lease("a", 1)
    [(id, token)] = await tasks.lease("a", 1)
    await tasks.settle(id, token, Success(b"1"))
    states = {
        "b:held": State.PROCESSING,
        "b:later": State.SCHEDULED,
        "b:ready": State.PENDING,
        "b:done": State.PENDING,  # it is counted in no state
    }
    for id in states:
        await spoil(link, id, how)
    found = await view.find(list(states))
    listed = (await view.list(Filter(), None, 10)).items
    for infos in (found, sorted(listed, key=lambda info: list(states).index(info.id))):
        for info, (id, state) in zip(infos, states.items(), strict=True):
            assert info is not None
            assert (info.id, info.lane, info.state) == (id, "a", state)
            assert (info.quarantined, info.task) == (True, None)
            assert info.reason


async def test_a_task_in_quarantine_is_found_and_listed_once(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(task("b:1"), task("b:2"))
    note = pack(("a", "scheduled", "why"))
    await link.client.hset(f"{link.prefix}t:b:1", "q", note)
    await link.client.zadd(f"{link.prefix}quarantine", {"b:1": BEGAN, "b:gone": 1, "b:2": 2})
    info = await one(view, "b:1")
    assert (info.lane, info.state, info.reason) == ("a", State.SCHEDULED, "why")
    assert info.quarantined
    listed = (await view.list(Filter(), None, 10)).items
    assert [info.id for info in listed] == ["b:2", "b:1"]
    await link.client.hset(f"{link.prefix}t:b:1", "q", b"?")
    assert (await one(view, "b:1")).quarantined


async def test_a_tombstone_is_no_task(link: WatchedLink, view: RedisView) -> None:
    await link.client.hset(f"{link.prefix}t:a:1", "x", pack((BEGAN + 9, [], "", False)))
    assert list(await view.find(["a:1"])) == [None]


# -- the ledger ----------------------------------------------------------------------------------


async def test_stats_count_every_lane_and_type(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    await tasks.put(task("a:1"), task("a:2"), task("a:3", delay=5.0), task("b:1", "b", key="k"))
    [(id, token)] = await tasks.lease("b", 1)
    await tasks.settle(id, token, Parked())
    [(id, token), _] = await tasks.lease("a", 2)
    await tasks.settle(id, token, Success(b"1"))
    await link.client.hset(f"{link.prefix}lanes", "b", pack((True, 0.0, BEGAN)))
    await link.client.hset(f"{link.prefix}types", "declared", "c")
    await link.client.hset(f"{link.prefix}counts", mapping={"a/a/of_tomorrow": 1, "z/z/failed": 0})
    stats = await view.stats()
    assert stats.at == BEGAN
    assert stats.lanes["a"].types == {
        "a": TypeStats(accepted=3, scheduled=1, processing=1, success=1)
    }
    assert stats.lanes["b"] == LaneStats(
        paused=True, types={"b": TypeStats(accepted=1, pending=1, parked=1)}
    )
    assert stats.lanes["c"] == LaneStats(types={"declared": TypeStats()})
    assert list(stats.lanes) == ["a", "b", "c"]
    assert stats.total().conserved


async def test_the_oldest_is_found_on_every_level_and_in_front(
    link: WatchedLink, tasks: Tasks, view: RedisView
) -> None:
    async def oldest() -> float | None:
        return (await view.stats()).lanes["a"].oldest_at

    for n, priority in enumerate((9, 0, 5, 3)):
        await link.now(BEGAN + n)
        await tasks.put(task(f"a:{n}", priority=priority))
    assert await oldest() == BEGAN
    [(id, token)] = await tasks.lease("a", 1)
    assert await oldest() == BEGAN + 1
    await tasks.settle(id, token, HandBack())
    assert await oldest() == BEGAN
    for n in range(4):
        await tasks.cancel(f"a:{n}")
        assert await oldest() == (BEGAN + n + 1 if n < 3 else None)


async def test_an_empty_server_has_an_empty_ledger(view: RedisView) -> None:
    stats = await view.stats()
    assert stats.lanes == {}
    assert (await view.list(Filter(), None, 10)).items == []
    assert list(await view.workers()) == []
    assert list(await view.schedules()) == []


# -- workers and schedules -------------------------------------------------------------------------


async def test_workers_show_their_beat_orders_and_silence(
    link: WatchedLink, view: RedisView
) -> None:
    def row(seen: float, dead: bool = False) -> bytes:
        return pack((seen, 15, 1, 3, "host", 7, 5, dead, [], "run"))

    at = {"w3": row(BEGAN), "w1": row(BEGAN - 16), "w2": row(BEGAN - 6, True), "bad": b"?"}
    await link.client.hset(f"{link.prefix}workers", mapping=at)
    beat = pack(Beat(worker="w1", lease=15.0, slots=7))
    await link.client.hset(f"{link.prefix}beats", mapping={"w1": beat, "w3": b"\xc1"})
    orders = {"w2": pack((True, False)), "w3": pack((False, True)), "w1": b"?"}
    await link.client.hset(f"{link.prefix}orders", mapping=orders)
    first, second, third = await view.workers()
    assert (first.beat.worker, first.beat.slots, first.seen_ago) == ("w1", 7, 16.0)
    assert (first.alive, first.quiet, first.stop) == (False, False, False)
    assert (second.beat.worker, second.alive, second.quiet) == ("w2", False, True)
    assert (third.alive, third.seen_ago, third.stop) == (True, 0.0, True)
    assert (third.beat.worker, third.beat.lease, third.beat.host) == ("w3", 15.0, "host")


async def test_schedules_that_were_announced_or_have_fired(
    link: WatchedLink, view: RedisView
) -> None:
    known = {
        "nightly": pack(Standing(3, BEGAN, "every 5 s", BEGAN, fired=0.0)),
        "hourly": pack((1, 5, "", 6, [])),
        "bad": b"?",
    }
    await link.client.hset(f"{link.prefix}schedules", mapping=known)
    hourly, nightly = await view.schedules()
    assert (nightly.name, nightly.version, nightly.last) == ("nightly", 3, BEGAN)
    assert (nightly.rule, nightly.seen, nightly.fired) == ("every 5 s", BEGAN, 0.0)
    assert (hourly.last, hourly.fired) == (5.0, None)
