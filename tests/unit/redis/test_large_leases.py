"""What one lease takes of large tasks: no more than a slow line carries within the call's time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import count

import pytest
from msgspec.structs import replace

import services
from support.redis_clock import clocked
from xqueue_core.calls import (
    Beat,
    Cancel,
    Capabilities,
    Delivery,
    Did,
    Held,
    Reschedule,
    Settle,
    Want,
)
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import Success, Task
from xqueue_core.views import Stats
from xqueue_redis.queue import RedisQueue
from xqueue_redis.view import RedisView

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
WORKER = "w"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Space:
    """A queue in a namespace of its own, and a worker."""

    def __init__(self, queue: RedisQueue, view: RedisView) -> None:
        self.queue = queue
        self.view = view
        self.call = 0
        self.held: dict[str, int] = {}

    async def take(self, lanes: str = "a", limit: int = 100) -> Sequence[Delivery]:
        """What one call brings; what the last one brought has arrived."""
        held = [Held(id, token) for id, token in self.held.items()]
        await self.queue.extend(Beat(worker=WORKER, lease=1e6, answered=self.call), held)
        self.call += 1
        found = await self.again(lanes, limit)
        self.held |= {one.task.id: one.token for one in found}
        return found

    async def again(self, lanes: str = "a", limit: int = 100) -> Sequence[Delivery]:
        """The same call."""
        wants = [Want(lane, limit) for lane in lanes]
        return (await self.queue.lease(wants, limit, self.call, WORKER, 0.0)).deliveries

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        for one in deliveries:
            del self.held[one.task.id]
        await self.queue.settle([Settle(one.task.id, one.token, Success()) for one in deliveries])

    async def stats(self) -> Stats:
        stats = await self.view.stats()
        assert stats.total().conserved
        return stats


@pytest.fixture
async def space(server: services.Server) -> AsyncIterator[Space]:
    ticks = count(1_800_000_000_000)  # as ever, no two scripts run at the same moment
    async with clocked(server, lambda: next(ticks) / 1000) as link:
        most = Capabilities(max_payload=8 * MIB)
        yield Space(RedisQueue(link, StoredOptions(), most), RedisView(link, StoredOptions()))


def large(id: str, size: int = 400 * 1024, lane: str = "a", priority: int = 0) -> Task:
    return Task(id=f"t:{id}", lane=lane, payload=b"x" * size, priority=priority)


def names(deliveries: Sequence[Delivery]) -> list[str]:
    return [one.task.id.removeprefix("t:") for one in deliveries]


async def test_a_call_takes_no_more_bytes_than_it_can_answer(space: Space) -> None:
    await space.queue.put([large(str(n)) for n in range(5)])
    first = await space.take()
    assert names(first) == ["0", "1"]
    total = (await space.stats()).total()
    assert (total.pending, total.processing) == (3, 2)
    assert await space.again() == first
    await space.settle(first)
    await space.queue.put([large("small", 1)])
    second = await space.take()
    assert names(second) == ["2", "3"]
    await space.settle(second)
    assert names(await space.take()) == ["4", "small"]
    assert await space.take() == []
    assert (await space.queue.maintain(1.0)) > 0


async def test_one_is_taken_however_large_it_is(space: Space) -> None:
    await space.queue.put([large("small", 1), large("large", 2 * MIB), large("last", 1)])
    assert names(await space.take()) == ["small"]
    assert names(await space.take()) == ["large"]
    assert names(await space.take()) == ["last"]


async def test_what_was_left_behind_is_a_task_like_any_other(space: Space) -> None:
    await space.queue.put([large(str(n)) for n in range(6)])
    await space.take()
    verdicts = await space.queue.control([Cancel("t:2"), Reschedule("t:3", delay=60.0)])
    assert [one.did for one in verdicts] == [Did.APPLIED] * 2
    assert names(await space.take()) == ["4", "5"]
    assert await space.take() == []
    total = (await space.stats()).total()
    assert (total.scheduled, total.canceled, total.pending) == (1, 1, 0)


@pytest.mark.parametrize("size", [150 * 1024, 300 * 1024])
async def test_levels_and_lanes_have_their_turns_as_ever(space: Space, size: int) -> None:
    """As if each task had been asked for alone."""
    tasks = [
        large(f"{lane}{priority}.{n}", 1, lane, priority)
        for n in range(12)
        for lane in "ab"
        for priority in (0, 5, 9)
    ]

    async def order(size: int, limit: int) -> list[str]:
        await space.queue.put(
            [
                replace(task, id=task.id.replace(":", f":{size}-"), payload=b"x" * size)
                for task in tasks
            ]
        )
        found: list[str] = []
        while got := await space.take("ab", limit):
            assert sum(len(one.task.payload) for one in got) <= MIB
            found += names(got)
            await space.settle(got)
        return [id.partition("-")[2] for id in found]

    alone = await order(1, 1)
    assert len(alone) == len(tasks)
    # A worker of which nobody knows which turns it has had.
    await space.queue.extend(Beat(worker=WORKER, answered=space.call, leaving=True), [])
    space.call = 0
    assert await order(size, 20) == alone
