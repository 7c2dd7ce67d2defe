"""When a worker that found nothing looks again: as what is due in its own lanes says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

import services
from support.redis_clock import ClockedLink, clocked
from xqueue_core.calls import Beat, Pause
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import Task
from xqueue_redis.queue import RedisQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Space:
    """A queue in a namespace of its own, and what its script for leases answers."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.link: ClockedLink
        self.queue: RedisQueue
        self.call = 0

    async def begin(self, link: ClockedLink) -> None:
        self.link = link
        self.queue = RedisQueue(link, StoredOptions())
        await self.queue.extend(Beat(worker="w", lease=1e6), [])

    async def put(self, lane: str, *delays: float) -> None:
        await self.queue.put(
            [Task(id=f"t:{lane}{delay}", lane=lane, delay=delay) for delay in delays]
        )

    async def due(self, **wants: int) -> float | None:
        """In how many seconds something may be due in these lanes."""
        self.call += 1
        asked = msgspec.msgpack.encode(list(wants.items()))
        answer: list[Any] = await self.link.run("lease", "w", self.call, 1, asked)
        assert answer[0] == b"ok"
        return float(answer[1]) if answer[1] else None


@pytest.fixture
async def space(server: services.Server) -> AsyncIterator[Space]:
    made = Space()
    async with clocked(server, lambda: made.now) as link:
        await made.begin(link)
        yield made


async def test_lanes_of_others_are_no_reason_to_look_again(space: Space) -> None:
    await space.put("x", 1.0, 2.0)
    assert await space.due(y=1) is None
    await space.put("y", 3.0)
    assert await space.due(y=1) == 3.0
    assert await space.due(x=1, y=1) == 1.0
    assert await space.due(x=0, y=1) == 1.0, "that it is ready is to be told"


async def test_a_paused_lane_is_none_to_look_at(space: Space) -> None:
    await space.put("y", 3.0)
    await space.queue.control([Pause("y")])
    assert await space.due(y=1) is None


async def test_behind_many_of_others_it_looks_again_but_not_for_each_of_them(space: Space) -> None:
    await space.put("x", *[n / 1000 for n in range(1, 200)])
    await space.put("y", 3.0)
    assert await space.due(y=1) == pytest.approx(0.1)
    space.now += 0.195
    assert await space.due(y=1) == pytest.approx(2.805)
    await space.put("x", *[1 + n / 10 for n in range(50)])
    assert await space.due(y=1) == 2.805, "19 of them come before"
    await space.put("x", *[1 + n / 30 for n in range(50)])
    assert 1.0 < (await space.due(y=1) or 0.0) < 2.8


async def test_more_than_is_moved_at_once_is_looked_at_again_at_once(space: Space) -> None:
    await space.put("x", *[n / 1000 for n in range(1, 500)])
    await space.put("y", 0.9)
    space.now += 1.0
    assert [await space.due(y=1) for _ in range(3)] == [0.0, 0.0, None], "the third takes it"


async def test_one_that_cannot_be_read_is_as_one_of_each_lane(space: Space) -> None:
    await space.put("x", 1.0)
    await space.link.command("HSET", f"{space.link.prefix}t:t:x1.0", "s", b"\xc1")
    assert await space.due(y=1) == 1.0
    space.now += 1.5
    assert await space.due(y=1) is None
