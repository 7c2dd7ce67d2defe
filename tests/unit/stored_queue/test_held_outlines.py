"""A heartbeat tells of what a worker holds without reading how large it is."""

from __future__ import annotations

import pytest

from support.queues import Bench, a_task
from xqueue_core.calls import Cancel, Delivery, Hold
from xqueue_core.stored import layout
from xqueue_core.stored.records import Change, Group, Row
from xqueue_core.task import State

pytestmark = pytest.mark.anyio


async def _held(bench: Bench, count: int) -> list[Delivery]:
    await bench.put(*(a_task(n) for n in range(count)))
    await bench.beat("a")
    return await bench.lease("a", count)


def _tasks_read(bench: Bench) -> list[str]:
    return [key for key in bench.records.read if key.startswith("t/")]


async def _place(bench: Bench, id: str, order: int) -> None:
    """Put the row where a writer would that knows nothing of this order."""
    [row] = await bench.store.load([f"t/{id}"])
    assert row is not None
    change = Change(row.key, row.version, row.body, row.bucket, order)
    assert await bench.store.swap([Group([change])]) == [True]


async def test_what_the_worker_names_is_not_read(bench: Bench) -> None:
    held = await _held(bench, 5)
    bench.records.read.clear()
    assert (await bench.beat("a", *held)).held == [Hold.KEPT] * 5
    await bench.queue.control([Cancel("type:1")])
    bench.records.read.clear()
    kept, canceled = Hold.KEPT, Hold.CANCELED
    assert (await bench.beat("a", *held)).held == [kept, canceled, kept, kept, kept]
    assert _tasks_read(bench) == []


async def test_what_it_does_not_name_is_read_and_handed_back(bench: Bench) -> None:
    held = await _held(bench, 250)
    bench.records.read.clear()
    assert (await bench.beat("a", *held[:3])).held == [Hold.KEPT] * 3
    assert len(_tasks_read(bench)) == 247
    states = [(await bench.record(one.task.id)).state for one in held]
    assert states == [State.PROCESSING] * 3 + [State.PENDING] * 247


async def test_another_token_than_the_row_has_is_lost(bench: Bench) -> None:
    [held] = await _held(bench, 1)
    held.token += 1
    assert (await bench.beat("a", held)).held == [Hold.LOST]


@pytest.mark.parametrize("order", [None, 0, 1, 1_790_000_000_000_000])
async def test_rows_of_who_knows_no_such_order_are_read(bench: Bench, order: int | None) -> None:
    held = await _held(bench, 2)
    await bench.queue.control([Cancel("type:1")])
    for one in held:
        id = one.task.id
        await _place(bench, id, (await bench.record(id)).rank if order is None else order)
    assert (await bench.beat("a", *held)).held == [Hold.KEPT, Hold.CANCELED]


async def test_one_that_leaves_the_worker_meanwhile_is_not_taken_from_who_has_it_then(
    bench: Bench,
) -> None:
    await _held(bench, 1)
    await bench.beat("b")

    async def moves() -> None:
        await bench.beat("a", answered=9)
        assert len(await bench.lease("b")) == 1

    async def seen() -> None:
        bench.records.before("load", moves)

    bench.records.before("outline", seen)
    await bench.beat("a", answered=1)
    assert not bench.records.waiting
    record = await bench.record("type:0")
    assert (record.state, record.worker) == (State.PROCESSING, "b")


@pytest.mark.parametrize("token", [1, 1_790_000_000_000_000, (1 << 52) - 1])
@pytest.mark.parametrize("version", [1, 255, 256, 1 << 61])
@pytest.mark.parametrize("cancel", [False, True])
def test_an_order_tells_what_it_was_made_of(token: int, version: int, cancel: bool) -> None:
    order = layout.held_order(token, cancel, version)
    assert 0 <= order < 1 << 62
    row = Row("t/a", version, b"", "held/a", order)
    assert layout.told(row) == (token, cancel)
    assert layout.told(row._replace(version=version + 1)) is None


def test_a_token_too_large_for_an_order_is_left_to_the_body() -> None:
    row = Row("t/a", 7, b"", "held/a", layout.held_order(1 << 52, False, 7))
    assert (layout.told(row) or (None,))[0] != 1 << 52
