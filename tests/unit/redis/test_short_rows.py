"""Rows written without packing them anew say what packed ones say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import services
from xqueue_core.calls import Beat, Cancel, Replay, Reschedule, Settle, Want
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import AnyOutcome, Canceled, Failed, Failure, HandBack, RetryAt, Success, Task
from xqueue_redis import scripts
from xqueue_redis.address import Address
from xqueue_redis.connection import Link
from xqueue_redis.queue import RedisQueue
from xqueue_redis.rows import Row, read
from xqueue_redis.scripts import Script, Scripts, assembled, header

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.25
_SHORT = "ready_bytes[id] or pack(row)"
_STRAIGHT = "if kind and put_plain("


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["redis7", "redis8", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[services.Server]:
    with services.redis(request.param) as server:
        yield server


class Other(Scripts):
    """The scripts, but that rows are made in another way, and every task is put as any other."""

    def __init__(self, way: str) -> None:
        super().__init__("key")
        self.way = way

    def get(self, name: str) -> Script:
        own = scripts.source(name).replace(_STRAIGHT, "if false and put_plain(")
        libs = [scripts.source(f"lib/{lib}") for lib in header(own)["libs"].split()]
        parts = [text.replace(_SHORT, self.way) for text in libs]
        parts = [scripts._with_test_clock(text) for text in parts]
        return assembled(name, [*parts, own], header(own).get("flags", ""))


class Space:
    def __init__(self, link: Link, worker: str) -> None:
        self.link = link
        self.queue = RedisQueue(link, StoredOptions())
        self.worker = worker
        self.call = 0
        self.seen: list[dict[str, Row]] = []

    async def at(self, now: float) -> None:
        await self.link.command("SET", f"{self.link.prefix}clock", repr(now))

    async def look(self) -> None:
        """Note all rows as they are."""
        keys = sorted(await self.link.command("KEYS", f"{self.link.prefix}t:*"))
        rows = {key: await self.link.command("HGET", key, "s") for key in keys}
        prefix = len(self.link.prefix)
        self.seen.append({key.decode()[prefix:]: read(row) for key, row in rows.items()})

    async def take(self) -> dict[str, int]:
        await self.queue.extend(Beat(worker=self.worker, answered=self.call, lease=1e6), [])
        self.call += 1
        wants = [Want("l", 50), Want("o", 50)]
        leased = await self.queue.lease(wants, 50, self.call, self.worker, 0.0)
        return {one.task.id: one.token for one in leased.deliveries}


@asynccontextmanager
async def space(
    server: services.Server, namespace: str, own: Scripts, worker: str
) -> AsyncIterator[Space]:
    link = Link(Address(hosts=(("127.0.0.1", server.port),)), namespace, own)
    try:
        yield Space(link, worker)
    finally:
        await link.close()


TASKS = [
    *(Task(id=f"t:{n}", lane="l") for n in range(8)),
    Task(id="t:late", lane="l", delay=5.0),
    Task(id="t:keyed", lane="l", key="k", max_retry=300),
    Task(id="t:unique", lane="o", unique_key="u" * 40, priority=9),
    Task(id="t:timed", lane="o", queue_timeout=1000.5),
    Task(id="t:" + "\u00e4" * 40, lane="l", payload=b"x" * 500),
    Task(id="t:ttl", lane="l", result_ttl=0.5, failure_ttl=float("inf"), remember=True),
]


async def story(one: Space) -> None:
    await one.at(NOW)
    await one.queue.put(TASKS)
    await one.look()
    await one.queue.control([Reschedule("t:7", delay=9.0), Cancel("t:6", "no", "r1")])
    await one.at(NOW + 1)
    held = await one.take()
    await one.look()
    failure = Failure("error", "it broke", "why")
    await one.queue.control([Cancel("t:5", "stop", "r2")])
    await one.at(NOW + 2.125)
    ends: dict[str, AnyOutcome] = {
        "t:0": Success(b"1", "json"),
        "t:1": RetryAt(0.0, failure),
        "t:2": HandBack(),
        "t:3": Failed(failure),
        "t:4": Canceled("enough"),
        "t:5": Success(b"2", "other/" + "x" * 50),
    }
    await one.queue.settle([Settle(id, held[id], end) for id, end in ends.items()])
    rest = [id for id in held if id not in ends]
    await one.queue.settle([Settle(id, held[id], Success(b"3")) for id in rest])
    await one.look()
    await one.queue.control([Replay("t:0", "again"), Replay("t:3", "again")])
    await one.at(NOW + 20)
    held = await one.take()
    await one.look()
    await one.queue.settle([Settle(id, token, Success(b"4")) for id, token in held.items()])
    # And once more, to tell a repeated one from one that is lost.
    await one.queue.settle([Settle(id, token, Success(b"4")) for id, token in held.items()])
    await one.look()


@pytest.mark.parametrize("worker", ["w", "a-worker-of-a-long-name" * 20])
async def test_they_say_what_packed_rows_say(server: services.Server, worker: str) -> None:
    name = f"{len(worker)}"
    async with (
        space(server, f"short{name}", Scripts("key"), worker) as short,
        space(server, f"plain{name}", Other("pack(row)"), worker) as plain,
    ):
        await story(short)
        await story(plain)
    assert _SHORT in scripts.source("lib/place")
    assert _STRAIGHT in scripts.source("put")
    assert len(short.seen) == 5
    for ours, theirs in zip(short.seen, plain.seen, strict=True):
        assert ours == theirs
    assert {row.state for row in short.seen[-1].values()} >= {"success", "canceled"}


async def test_those_that_most_rows_are_need_no_packing(server: services.Server) -> None:
    own = Other("ready_bytes[id] or error('it was packed')")
    async with space(server, "most", own, "w") as one:
        await one.at(NOW)
        await one.queue.put([Task(id=f"t:{n}", lane="l") for n in range(3)])
        await one.at(NOW + 1)
        held = await one.take()
        await one.queue.settle([Settle(id, token, Success()) for id, token in held.items()])
        await one.look()
        assert [row.state for row in one.seen[-1].values()] == ["success"] * 3


async def test_the_number_of_a_rows_last_event_grows_out_of_a_byte(
    server: services.Server,
) -> None:
    async with space(server, "many", Scripts("key"), "w") as one:
        await one.at(NOW)
        events = range(123, 131)
        await one.queue.put([Task(id=f"t:{n}", lane="l") for n in events])
        for n in events:
            await one.queue.control([Reschedule(f"t:{n}", delay=0.0) for _ in range(n - 1)])
        await one.look()
        assert [row.seq for row in one.seen[-1].values()] == list(events)
        held = await one.take()
        await one.look()
        assert [row.seq for row in one.seen[-1].values()] == [n + 1 for n in events]
        await one.queue.settle([Settle(id, token, Success()) for id, token in held.items()])
        await one.look()
        assert [row.seq for row in one.seen[-1].values()] == [n + 2 for n in events]
        assert {row.state for row in one.seen[-1].values()} == {"success"}


def some(*tokens: object, lane: str = "l", type: str = "t", **options: Any) -> list[Task]:
    return [Task(id=f"{type}:{token}", lane=lane, **options) for token in tokens]


# At these times, one call each; what a call may meet with that is not as most are.
CALLS = [
    (NOW, some(0, 1, 0, 2)),
    (NOW, some(3) + some(3, delay=9.0) + some(4, delay=9.0) + some(4, 5)),
    (NOW, some(6, lane="o") + some(6) + some(7, type="u") + some("n" * 60, "n" * 260, "\u00e4")),
    (NOW, some(8) + some(1) + some(9, priority=9) + some(10, max_retry=400)),
    (NOW, some(11) + some(12, key="k") + some(13, unique_key="u") + some(14, queue_timeout=5.0)),
    (NOW - 5, some(15, 16, priority=9) + some(17, 18, lane="new")),
    (NOW + 9, some(*range(100, 715))),
    (NOW + 9, some(*range(715, 730), delay=1.0)),
    (float(int(NOW) + 20), some(730, 731, result_ttl=0.0, remember=True)),
    (NOW + 30, []),
]


async def left(one: Space) -> dict[bytes, Any]:
    """All keys, and what they hold; but for the times in the ids of events."""
    reads = {
        b"hash": ("HGETALL",),
        b"stream": ("XRANGE", "-", "+"),
        b"zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
        b"list": ("LRANGE", "0", "-1"),
        b"string": ("GET",),
    }
    found: dict[bytes, Any] = {}
    for key in await one.link.command("KEYS", f"{one.link.prefix}*"):
        command, *rest = reads[await one.link.command("TYPE", key)]
        value = await one.link.command(command, key, *rest)
        name = key[len(one.link.prefix) :]
        if name == b"events":
            value = [fields for _, fields in value]
        elif command == "HGETALL":
            value = dict(zip(value[::2], value[1::2], strict=True))
        found[name] = value
    del found[b"meta"]
    return found


async def test_what_is_put_straight_is_put_as_any_other(server: services.Server) -> None:
    async with (
        space(server, "straight", Scripts("key"), "w") as straight,
        space(server, "others", Other(_SHORT), "w") as other,
    ):
        for at, tasks in CALLS:
            answers = []
            for one in (straight, other):
                await one.at(at)
                parts = list(one.queue._putter._portions(tasks, 0.0))
                given = [argument for part in parts for argument in part.given]
                answers.append(await one.link.run("put", *given))
            assert answers[0] == answers[1]
            assert await left(straight) == await left(other)
        found = await left(straight)
        assert len([key for key in found if key.startswith(b"t:")]) > 600
        assert b"early:l:9" in found
