"""When the queue on Redis wants to look for the dead again."""

from __future__ import annotations

import pytest

import services
from support.redis_clock import clocked
from xqueue_core.calls import Beat, Order, Want
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import Task
from xqueue_redis.queue import RedisQueue

pytestmark = pytest.mark.anyio
LEASE, HEARTBEAT = 15.0, 1.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_who_does_not_come_back_is_looked_for_as_soon_as_it_may_be_judged(
    server: services.Server,
) -> None:
    now = 4e9
    async with clocked(server, lambda: now) as link:
        queue = RedisQueue(link, StoredOptions())

        async def beat(worker: str) -> None:
            await queue.extend(Beat(worker=worker, lease=LEASE, heartbeat=HEARTBEAT), [])

        await queue.put([Task(id="a:1", lane="a")])
        await beat("dies")
        await beat("lives")
        [_] = (await queue.lease([Want("a", 1)], 1, 1, "dies", 0.0)).deliveries
        now += 2 * LEASE
        wanted = 0.0
        for _ in range(int(LEASE / HEARTBEAT)):
            await beat("lives")
            now += HEARTBEAT - 0.25
            wanted = await queue.maintain(1.0)
            now += 0.25
        assert wanted == pytest.approx(0.25)
        await beat("lives")
        await queue.maintain(1.0)
        [again] = (await queue.lease([Want("a", 1)], 1, 1, "lives", 0.0)).deliveries
        assert again.losses == 1


@pytest.mark.parametrize("back", [0.5, 3600.0])
async def test_a_clock_that_is_set_back_gives_the_dead_one_lease_more(
    server: services.Server, back: float
) -> None:
    now = 4e9
    async with clocked(server, lambda: now) as link:
        queue = RedisQueue(link, StoredOptions())

        async def beat(worker: str) -> None:
            await queue.extend(Beat(worker=worker, lease=LEASE, heartbeat=HEARTBEAT), [])

        await queue.put([Task(id="a:1", lane="a")])
        await beat("dies")
        [_] = (await queue.lease([Want("a", 1)], 1, 1, "dies", 0.0)).deliveries
        now -= back
        began = now
        leased = False
        while not leased:
            await beat("lives")
            await queue.maintain(1.0)
            leased = bool((await queue.lease([Want("a", 1)], 1, 1, "lives", 0.0)).deliveries)
            now += HEARTBEAT
            assert now - began <= LEASE + 2 * HEARTBEAT
        assert now - began > LEASE


async def test_what_is_remembered_of_who_is_gone_goes_in_time(server: services.Server) -> None:
    now = 4e9
    async with clocked(server, lambda: now) as link:
        queue = RedisQueue(link, StoredOptions())

        async def beat(worker: str, *, leaving: bool = False) -> None:
            beat = Beat(worker=worker, lease=LEASE, heartbeat=HEARTBEAT, leaving=leaving)
            await queue.extend(beat, [])

        async def passes(seconds: float) -> None:
            nonlocal now
            end = now + seconds
            while now < end:
                now += HEARTBEAT
                await beat("lives")
                await queue.maintain(1.0)

        await beat("leaves", leaving=True)
        assert 25_000 < await link.command("PTTL", f"{link.prefix}left:leaves") <= 30_000
        for worker in ("dies", "nothing"):
            await beat(worker)
            await queue.control([Order(worker, stop=worker == "dies")])
        await passes(LEASE + 5)
        assert await link.command("HKEYS", f"{link.prefix}orders") == [b"dies"]
        now += 3500
        await passes(5)
        assert await link.command("HLEN", f"{link.prefix}orders") == 1
        now += 100
        await passes(5)
        assert await link.command("HLEN", f"{link.prefix}orders") == 0
