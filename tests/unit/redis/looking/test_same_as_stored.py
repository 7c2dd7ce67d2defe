"""The view of Redis shows the same as that of the reference, whatever has happened to tasks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from support.looking_at_redis import BEGAN, WatchedLink
from support.stores import FakeClock
from xqueue_core.abc import TaskQueue, TaskView
from xqueue_core.calls import (
    AnyCommand,
    Beat,
    Cancel,
    Delivery,
    Held,
    Order,
    Pause,
    Purge,
    Replay,
    Reschedule,
    Resume,
    Settle,
    Unpark,
    Want,
)
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.view import StoredView
from xqueue_core.task import (
    AnyOutcome,
    Canceled,
    Failed,
    Failure,
    HandBack,
    Parked,
    RetryAt,
    Slot,
    State,
    Success,
    Task,
)
from xqueue_core.views import Filter, TaskInfo
from xqueue_memory import MemoryRecords
from xqueue_redis.queue import RedisQueue
from xqueue_redis.view import RedisView

pytestmark = pytest.mark.anyio

STEPS = 120
LANES = ("a", "b")
FAILURE = Failure("exception", "builtins.ValueError", "boom")


class Both:
    """The reference and Redis, to which the same is done at the same time."""

    def __init__(self, link: WatchedLink, seed: int) -> None:
        options = StoredOptions()
        self.clock = FakeClock(wall=BEGAN)
        records = MemoryRecords(self.clock)
        stored = StoredQueue(records, LocalBell(), options)
        self.queues: tuple[TaskQueue, TaskQueue] = (stored, RedisQueue(link, options))
        self.views: tuple[TaskView, TaskView] = (
            StoredView(records, options),
            RedisView(link, options),
        )
        self.random = random.Random(seed)
        self.ids: list[str] = []
        self.held: dict[str, Delivery] = {}
        self._link = link
        self._calls = 0

    async def step(self) -> None:
        """Something happens, after some time."""
        seconds = self.random.choice((1 / 1024, 0.5, 7.0))
        self.clock.wall += seconds
        self.clock.steady += seconds
        await self._link.now(self.clock.wall)
        await self.random.choice((self.put, self.lease, self.settle, self.command, self.beat))()

    async def put(self) -> None:
        chosen = self.random
        key = chosen.choice((None, None, "k:1", "k"))
        task = Task(
            id=f"{chosen.choice(LANES)}:{len(self.ids)}",
            lane=chosen.choice(LANES),
            priority=chosen.choice((0, 0, 3, 9)),
            max_retry=chosen.choice((0, 2)),
            delay=chosen.choice((0.0, 0.0, 9.0)),
            queue_timeout=chosen.choice((None, 60.0)),
            key=key,
            key_limit=None if key is None else 1,
            slot=Slot("nightly", 1, self.clock.wall) if chosen.random() < 0.1 else None,
        )
        first, second = [await queue.put([task]) for queue in self.queues]
        assert first == second
        self.ids.append(task.id)

    async def lease(self) -> None:
        self._calls += 1
        lane, n = self.random.choice(LANES), self.random.choice((1, 3))
        await self.beat()
        wants = [Want(lane, n)]
        first, second = [await queue.lease(wants, n, self._calls, "w", 0) for queue in self.queues]
        assert first.deliveries == second.deliveries
        self.held.update((one.task.id, one) for one in first.deliveries)

    async def settle(self) -> None:
        if not self.held:
            return
        id = self.random.choice(sorted(self.held))
        outcomes: Sequence[AnyOutcome] = (
            Success(b"1"),
            Failed(FAILURE),
            RetryAt(self.random.choice((0.0, 5.0)), FAILURE),
            HandBack(ran=True),
            HandBack(unable="type"),
            Canceled("enough"),
            *([Parked()] * (2 if self.held[id].task.key else 0)),
        )
        told = [Settle(id, self.held.pop(id).token, self.random.choice(outcomes))]
        first, second = [await queue.settle(told) for queue in self.queues]
        assert first == second

    async def command(self) -> None:
        id = self.random.choice(self.ids or ["a:none"])
        commands: Sequence[AnyCommand] = (
            Cancel(id, "enough"),
            Replay(id, f"wish{self._calls}"),
            Purge(id),
            Reschedule(id, delay=self.random.choice((0.0, 9.0))),
            Unpark(self.random.choice(LANES), "k:1", 2),
            Pause(self.random.choice(LANES)),
            Resume(self.random.choice(LANES)),
            Resume(self.random.choice(LANES)),
            Order("w", quiet=self.random.random() < 0.5),
        )
        wish = self.random.choice(commands)
        first, second = [await queue.control([wish]) for queue in self.queues]
        assert first == second, wish

    async def beat(self) -> None:
        held = [Held(id, one.token) for id, one in self.held.items()]
        beat = Beat(worker="w", lease=60.0, answered=self._calls, lanes=list(LANES))
        for queue in self.queues:
            await queue.extend(beat, held)
            await queue.maintain(1.0)

    # -- comparing ---------------------------------------------------------------------------

    async def compare(self) -> None:
        """Fail if the two show anything different."""
        asked = [*self.ids, "a:none"]
        first, second = [list(await view.find(asked)) for view in self.views]
        assert [_told(one) for one in second] == [_told(one) for one in first]
        stats, other = [await view.stats() for view in self.views]
        assert msgspec.to_builtins(other) == msgspec.to_builtins(stats)
        for a, b in zip(*[await view.workers() for view in self.views], strict=True):
            assert (b.beat, b.alive, b.quiet, b.seen_ago) == (a.beat, a.alive, a.quiet, a.seen_ago)
        known, shown = [await view.schedules() for view in self.views]
        assert shown == known
        await self._compare_lists()

    async def _compare_lists(self) -> None:
        limit = self.random.choice((1, 2, 5, 100))
        everything = [await _pages(view, Filter(), limit) for view in self.views]
        first, second = [sorted(found, key=lambda one: one.id) for found in everything]
        assert [_told(one) for one in second] == [_told(one) for one in first]
        for lane in LANES:
            waiting = Filter(states=frozenset({State.PENDING}), lanes=frozenset({lane}))
            first, second = [await _pages(view, waiting, limit) for view in self.views]
            assert [one.id for one in second] == [one.id for one in first]


async def _pages(view: TaskView, filter: Filter, limit: int) -> list[TaskInfo]:
    found: list[TaskInfo] = []
    after: str | None = None
    while True:
        page = await view.list(filter, after, limit)
        found += page.items
        if (after := page.next) is None:
            return found


def _told(info: TaskInfo | None) -> object:
    return None if info is None else msgspec.to_builtins(info)


@pytest.mark.parametrize("seed", range(100, 104))
async def test_both_show_the_same(link: WatchedLink, seed: int) -> None:
    both = Both(link, seed)
    for n in range(STEPS):
        await both.step()
        if n % 10 == 9:
            await both.compare()
    assert len(both.ids) > STEPS / 10
