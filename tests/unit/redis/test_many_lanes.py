"""What upkeep costs where there are many lanes, or many that die, and that it misses nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

import services
from support.redis_clock import ClockedLink, clocked
from xqueue_core.calls import Beat, Declare, Pause, Resume, Settle, Want
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import Success, Task
from xqueue_redis.connection import RUN_ID
from xqueue_redis.queue import RedisQueue
from xqueue_redis.view import RedisView

pytestmark = pytest.mark.anyio
LEASE, HEARTBEAT = 15.0, 1.0
#: As the queue gives them to the script.
GIVEN = (86_400, 86_400, 60, 1.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Many:
    """An installation with many lanes."""

    def __init__(self, link: ClockedLink) -> None:
        self.link = link
        self.queue = RedisQueue(link, StoredOptions())
        self.view = RedisView(link, StoredOptions())

    async def declare(self, lanes: int) -> None:
        """Make lanes l0, l1, ..."""
        await self.queue.control([Declare(f"l{n}", f"l{n}") for n in range(lanes)])

    async def beat(self, worker: str, *lanes: str) -> None:
        """A heartbeat."""
        beat = Beat(worker=worker, lease=LEASE, heartbeat=HEARTBEAT, lanes=list(lanes))
        await self.queue.extend(beat, [])

    async def commands(self, times: int = 1) -> float:
        """How many commands one call of upkeep gives."""
        before = await self._calls()
        for _ in range(times):
            await self.link.run("maintain", RUN_ID, *GIVEN)
        return (await self._calls() - before) / times

    async def _calls(self) -> int:
        told: Any = await self.link.command("INFO", "commandstats")
        return sum(int(one) for one in re.findall(rb"calls=(\d+)", told))


async def test_upkeep_costs_the_same_with_many_lanes(server: services.Server) -> None:
    now = 4e9
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        await many.declare(2_000)
        for _ in range(8):  # until each was looked at
            now += 1.0
            assert await many.commands() < 5_000
        now += 0.02
        assert await many.commands(20) < 60, "however many ask"


async def test_in_many_lanes_each_task_expires_and_goes_in_time(server: services.Server) -> None:
    lanes = 600
    now = 4e9
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        await many.declare(lanes)
        await many.queue.maintain(1.0)
        await many.queue.put(
            [Task(id=f"l{n}:x", lane=f"l{n}", queue_timeout=10.0) for n in range(lanes)]
        )
        await many.queue.put(
            [
                Task(id=f"l{n}:y", lane=f"l{n}", queue_timeout=30.0, failure_ttl=60.0)
                for n in range(lanes)
            ]
        )
        for seconds, ended in ((9.9, 0), (0.2, lanes), (19.8, lanes), (0.2, 2 * lanes)):
            for _ in range(3):
                now += seconds / 3
                await many.queue.maintain(5.0)
            assert (await many.view.stats()).total().timeout == ended
        kept = [f"l{n}:y" for n in range(lanes)]
        assert None not in await many.view.find(kept)
        now += 60.2
        for _ in range(3):
            await many.queue.maintain(5.0)
        assert set(await many.view.find(kept)) == {None}


async def test_a_lane_that_is_resumed_is_looked_at_again_at_once(server: services.Server) -> None:
    """While it was paused nothing was known to be due in it."""
    now = 4e9
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        await many.declare(1_300)
        await many.queue.put([Task(id="l7:x", lane="l7", queue_timeout=10.0)])
        await many.queue.control([Pause("l7")])
        for _ in range(6):
            now += 1.0
            await many.queue.maintain(5.0)
        await many.queue.control([Resume("l7")])
        await many.queue.maintain(5.0)
        assert await link.command("ZSCORE", f"{link.prefix}alarms", "l7") is not None


async def test_what_a_heartbeat_sees_coming_is_seen_to_in_time(server: services.Server) -> None:
    now = 4e9
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        await many.declare(5_000)
        for _ in range(12):
            now += 1.0
            await many.queue.maintain(5.0)
        await many.queue.put([Task(id="l7:x", lane="l7", queue_timeout=0.5)])
        await many.beat("w", "l7")
        now += 0.49
        assert await many.queue.maintain(5.0) <= 0.05
        now += 0.02
        await many.queue.maintain(5.0)
        assert (await many.view.stats()).total().timeout == 1


async def test_of_many_that_die_together_a_portion_is_taken_at_a_time(
    server: services.Server,
) -> None:
    workers, each = 25, 100
    now = 4e9
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        ids = [f"a:{n}" for n in range(workers * each)]
        await many.queue.put([Task(id=id, lane="a") for id in ids])
        for n in range(workers):
            await many.beat(f"dies{n}")
            await many.queue.lease([Want("a", each)], each, 1, f"dies{n}", 0.0)
        for _ in range(17):
            await many.beat("lives")
            now += HEARTBEAT
        processing = []
        told = []
        more = 1
        while more:
            _, more, _, *buried = await many.link.run("maintain", RUN_ID, *GIVEN)
            told += buried[2::3]
            processing.append((await many.view.stats()).total().processing)
        assert processing == [1500, 500, 0]
        assert told == [each] * workers
        leased = await many.queue.lease([Want("a", 3000)], 3000, 1, "lives", 0.0)
        assert {(one.task.id, one.losses) for one in leased.deliveries} == {(id, 1) for id in ids}
        ends = [Settle(one.task.id, one.token, Success()) for one in leased.deliveries]
        await many.queue.settle(ends)
        assert (await many.view.stats()).total().success == len(ids)
