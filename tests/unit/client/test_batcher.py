"""The batcher: at once when idle, together while a call is under way, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from xqueue_core.client.batcher import Batcher

pytestmark = pytest.mark.anyio


class Broker:
    """Takes batches of numbers and answers with their negatives, when it is told to."""

    def __init__(self, *, open_: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.called = asyncio.Event()
        if open_:
            self.gate.set()

    async def flush(self, batch: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(batch))
        self.called.set()
        await self.gate.wait()
        return [ValueError(f"no {item}") if item == 13 else -item for item in batch]


def lost(item: int) -> Exception:
    return ConnectionError(f"{item} is lost")


async def turns(count: int = 5) -> None:
    """Let whatever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_an_item_alone_is_sent_at_once() -> None:
    broker = Broker()
    batcher = Batcher(broker.flush, closed=lost)
    assert await batcher.add(1) == -1
    assert broker.batches == [[1]]
    assert batcher.idle


async def test_items_ready_together_travel_together() -> None:
    broker = Broker()
    batcher = Batcher(broker.flush, closed=lost)
    assert await asyncio.gather(*map(batcher.add, range(5))) == [0, -1, -2, -3, -4]
    assert broker.batches == [[0, 1, 2, 3, 4]]


async def test_items_gather_while_a_call_is_under_way() -> None:
    broker = Broker(open_=False)
    batcher = Batcher(broker.flush, closed=lost, size=3)
    answers = [batcher.send(1)]
    await broker.called.wait()
    answers += [batcher.send(item) for item in range(2, 7)]
    await turns()
    assert broker.batches == [[1]]
    assert len(batcher) == 5
    broker.gate.set()
    assert await asyncio.gather(*answers) == [-1, -2, -3, -4, -5, -6]
    assert broker.batches == [[1], [2, 3, 4], [5, 6]]


async def test_a_batch_is_bounded_by_weight_too() -> None:
    broker = Broker()
    batcher = Batcher(broker.flush, closed=lost, weigh=lambda item: item, load=10)
    items = [0, 4, 6, 1, 11, 12, 0, 10]
    assert await batcher.add_many(items) == [-item for item in items]
    assert broker.batches == [[0, 4, 6], [1], [11], [12], [0, 10]]


async def test_many_items_are_answered_in_their_order() -> None:
    batcher = Batcher(Broker().flush, closed=lost, size=7)
    outcomes = await batcher.add_many(range(20))
    assert isinstance(outcomes.pop(13), ValueError)
    assert outcomes == [-item for item in range(20) if item != 13]
    assert await batcher.add_many([]) == []


async def test_an_exception_in_the_answer_is_that_items_alone() -> None:
    batcher = Batcher(Broker().flush, closed=lost)
    good, bad = batcher.send(1), batcher.send(13)
    with pytest.raises(ValueError, match="no 13"):
        await bad
    assert await good == -1


async def test_a_flush_that_raises_fails_its_batch_alone() -> None:
    calls = 0

    async def flush(batch: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("down")
        return batch

    batcher = Batcher(flush, closed=lost)
    first = await asyncio.gather(batcher.add(1), batcher.add(2), return_exceptions=True)
    assert [type(one) for one in first] == [OSError, OSError]
    assert await batcher.add(3) == 3


async def test_an_item_cancelled_while_it_waits_is_not_sent() -> None:
    broker = Broker(open_=False)
    batcher = Batcher(broker.flush, closed=lost)
    under_way = batcher.send(1)
    await broker.called.wait()
    waiting = asyncio.create_task(batcher.add(2))
    other = batcher.send(3)
    await turns()
    waiting.cancel()
    broker.gate.set()
    assert [await under_way, await other] == [-1, -3]
    assert broker.batches == [[1], [3]]
    assert waiting.cancelled()


async def test_a_cancelled_caller_takes_nobody_along() -> None:
    broker = Broker(open_=False)
    batcher = Batcher(broker.flush, closed=lost)
    first = asyncio.create_task(batcher.add(1))
    second = asyncio.create_task(batcher.add(2))
    await broker.called.wait()
    first.cancel()
    await turns()
    broker.gate.set()
    assert await second == -2


async def test_the_brake_holds_callers_back() -> None:
    broker = Broker(open_=False)
    batcher = Batcher(broker.flush, closed=lost, size=2, capacity=3)
    callers = [asyncio.create_task(batcher.add(item)) for item in range(12)]
    await broker.called.wait()
    await turns(20)
    assert len(batcher) == 3
    broker.gate.set()
    assert await asyncio.gather(*callers) == [-item for item in range(12)]
    assert sorted(item for batch in broker.batches for item in batch) == list(range(12))


async def test_room_offered_to_a_cancelled_caller_goes_to_the_next() -> None:
    broker = Broker(open_=False)
    batcher = Batcher(broker.flush, closed=lost, size=1, capacity=1)
    callers = [asyncio.create_task(batcher.add(item)) for item in range(4)]
    await broker.called.wait()
    await turns(20)
    for caller in callers[1:3]:
        caller.cancel()
    broker.gate.set()
    assert await callers[3] == -3


async def test_drained_waits_for_everything_sent() -> None:
    broker = Broker()
    batcher = Batcher(broker.flush, closed=lost, size=1)
    answers = [batcher.send(item) for item in range(3)]
    await batcher.drained()
    assert all(answer.done() for answer in answers)
    assert batcher.idle


@pytest.mark.parametrize("how", ["close", "abandon"])
async def test_a_close_cancels_the_call_and_tells_callers(how: str) -> None:
    broker = Broker(open_=False)
    batcher = Batcher(broker.flush, closed=lost, size=1, capacity=2)
    callers = [asyncio.create_task(batcher.add(item)) for item in range(6)]
    many = asyncio.create_task(batcher.add_many([7, 8]))
    await broker.called.wait()
    await turns(20)
    if how == "close":
        await batcher.close()
    else:
        batcher.abandon()
    answers = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 5)
    assert [repr(answer) for answer in answers] == [repr(lost(item)) for item in range(6)]
    assert [repr(answer) for answer in await many] == [repr(lost(7)), repr(lost(8))]
    with pytest.raises(ConnectionError, match="9 is lost"):
        await batcher.add(9)
    await batcher.drained()
    assert broker.batches == [[0]]
