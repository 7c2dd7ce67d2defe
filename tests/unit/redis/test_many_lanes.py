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

    async def ended(self, lanes: int) -> int:
        """How many ended tasks are kept."""
        keys = [f"{self.link.prefix}done:l{n}" for n in range(lanes)]
        return sum([await self.link.command("ZCARD", key) for key in keys])

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


@pytest.mark.parametrize("lanes", [12, 24])
async def test_one_call_ends_so_many_in_all_lanes_together(
    server: services.Server, lanes: int
) -> None:
    each, most = 200, 1000
    now = 4e9
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        await many.declare(lanes)
        for n in range(lanes):
            await many.queue.put(
                [
                    Task(id=f"l{n}:{i}", lane=f"l{n}", queue_timeout=10.0, failure_ttl=60.0)
                    for i in range(each)
                ]
            )
        now += 3600.0  # in which nobody was there, so that each lane's turn has come
        ended, more = 0, 1
        while more:
            _, more, *_ = await many.link.run("maintain", RUN_ID, *GIVEN)
            before, ended = ended, (await many.view.stats()).total().timeout
            assert ended - before <= most
        assert ended == lanes * each
        now += 60.1
        left = lanes * each
        while left:
            await many.link.run("maintain", RUN_ID, *GIVEN)
            before, left = left, await many.ended(lanes)
            assert 0 < before - left <= most


async def test_a_paused_lane_is_looked_at_until_all_that_was_over_before_has_ended(
    server: services.Server,
) -> None:
    now = 4e9
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        await many.declare(1_300)
        for first in (0, 225):
            await many.queue.put(
                [
                    Task(id=f"l7:{n}", lane="l7", queue_timeout=10.0)
                    for n in range(first, first + 225)
                ]
            )
        now += 11.0
        await many.queue.control([Pause("l7")])
        for _ in range(4):
            now += 0.001
            await many.link.run("maintain", RUN_ID, *GIVEN)
        assert (await many.view.stats()).total().timeout == 450


async def test_each_lane_has_its_turn_also_after_the_clock_was_set_back(
    server: services.Server,
) -> None:
    now = 4e9
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        await many.declare(1_200)
        for _ in range(4):
            now += 1.0
            await many.queue.maintain(5.0)
        now -= 3600.0
        for _ in range(4):
            now += 1.0
            await many.queue.maintain(5.0)
        seen = await link.command("ZCOUNT", f"{link.prefix}tour", now - 4.0, now)
        assert seen == 1_200


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


async def test_workers_that_die_in_thousands_are_declared_dead_a_portion_at_a_time(
    server: services.Server,
) -> None:
    now, workers = 4e9, 3_000
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        for n in range(workers):
            await many.beat(f"dies{n}")
        for _ in range(17):
            await many.beat("lives")
            now += HEARTBEAT
        dead: set[bytes] = set()
        more = 1
        while more:
            _, more, _, *buried = await many.link.run("maintain", RUN_ID, *GIVEN)
            assert len(buried) <= 3 * 500
            dead.update(buried[::3])
        assert len(dead) == workers
        assert [one.beat.worker for one in await many.view.workers()] == ["lives"]


async def test_who_comes_back_while_it_is_given_up_has_lost_all_of_it(
    server: services.Server,
) -> None:
    now, held = 4e9, 2_500
    async with clocked(server, lambda: now) as link:
        many = Many(link)
        for first in range(0, held, 500):
            await many.queue.put([Task(id=f"a:{first + n}", lane="a") for n in range(500)])
        await many.beat("dies")
        await many.queue.lease([Want("a", held)], held, 1, "dies", 0.0)
        for _ in range(17):
            await many.beat("lives")
            now += HEARTBEAT
        await many.link.run("maintain", RUN_ID, *GIVEN)
        assert (await many.view.stats()).total().processing == held - 1000
        await many.beat("dies")
        assert (await many.view.stats()).total().processing == 0
        leased = await many.queue.lease([Want("a", held)], held, 1, "dies", 0.0)
        assert [one.losses for one in leased.deliveries] == [1] * held
