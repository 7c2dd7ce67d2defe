"""What the stored view tells of waiting tasks: their order, and when they have waited too long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.stores import FakeClock, open_records
from xqueue_core.calls import Beat, Pause, Resume, Want
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.records import Records
from xqueue_core.stored.view import StoredView
from xqueue_core.task import State, Task
from xqueue_core.views import Filter

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


def task(id: str, **more: object) -> Task:
    return Task(id=id, lane="a", **more)  # type: ignore[arg-type]


async def lease(queue: StoredQueue, count: int) -> list[str]:
    await queue.extend(Beat(worker="w"), [])
    leased = await queue.lease([Want("a", count)], count, 1, "w", 0)
    return [one.task.id for one in leased.deliveries]


async def test_ranks_are_in_the_order_in_which_tasks_are_leased(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    await queue.put([task("a:later", delay=1.0), task("a:1"), task("a:2")])
    clock.wall += 2
    await queue.maintain(1.0)
    await queue.put([task("a:3", priority=1), task("a:4")])
    page = await view.list(Filter(states=frozenset({State.PENDING})), None, 10)
    waiting = page.items
    order = sorted(waiting, key=lambda one: (-one.task.priority if one.task else 0, one.rank))
    leased = await lease(queue, 10)
    assert [one.id for one in order] == leased == ["a:3", "a:1", "a:2", "a:later", "a:4"]
    assert all(one.rank > 0 for one in waiting)
    assert page.in_order
    assert [one.id for one in waiting] == leased


async def test_a_waiting_task_tells_when_it_expires(
    queue: StoredQueue, view: StoredView, clock: FakeClock
) -> None:
    await queue.put(
        [
            task("a:now", queue_timeout=60.0),
            task("a:later", queue_timeout=60.0, delay=100.0),
            task("a:never"),
        ]
    )
    start = clock.wall

    async def left() -> list[float]:
        found = await view.find(["a:now", "a:later", "a:never"])
        return [one.expires_at - start if one and one.expires_at else 0.0 for one in found]

    assert await left() == pytest.approx([60.0, 160.0, 0.0])
    await queue.control([Pause("a")])
    clock.wall += 30
    assert await left() == pytest.approx([90.0, 160.0, 0.0])  # it stands still
    await queue.control([Resume("a")])
    assert await lease(queue, 1) == ["a:now"]
    assert await left() == pytest.approx([0.0, 160.0, 0.0])  # what was leased does not wait
