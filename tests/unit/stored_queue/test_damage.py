"""Rows that cannot be read are set aside, and everything else goes on."""

from __future__ import annotations

import pytest

from support.queues import LEASE, Bench, a_task
from xqueue_core.calls import (
    Cancel,
    Declare,
    Did,
    Hold,
    Pause,
    Purge,
    Put,
    Settled,
    Unpark,
    Verdict,
)
from xqueue_core.errors import LeaseLost
from xqueue_core.stored.layout import Quarantined, Tombstone, pack_task
from xqueue_core.task import EventName, Parked, State

pytestmark = pytest.mark.anyio

BODIES = [b"", b"Rubbish", b"R\xc1", b"X", b"R\x92\xa3bad\xa7pending", b"T\xc1", b"Q\xc1"]


async def _quarantined(bench: Bench, id: str, field: str) -> None:
    """The task was set aside, with an event, and counts as it did before."""
    body = await bench.body(id)
    assert isinstance(body, Quarantined), body
    assert body.field == field
    names = [event.name for event in await bench.events() if event.id == id]
    assert names[-1] is EventName.QUARANTINED
    await bench.audit()


async def _purge(bench: Bench, id: str) -> None:
    [cancel, purge, again] = await bench.queue.control([Cancel(id), Purge(id), Purge(id)])
    assert (cancel.did, purge.did) == (Did.UNKNOWN, Did.APPLIED)
    assert again.did in (Did.APPLIED, Did.UNKNOWN)
    assert await bench.body(id) is None
    await bench.audit()


@pytest.mark.parametrize("body", BODIES, ids=repr)
async def test_among_the_ready(bench: Bench, body: bytes) -> None:
    await bench.put(a_task(0), a_task(1))
    await bench.damage("t/type:0", body)
    await bench.beat("a")
    assert [one.task.id for one in await bench.lease("a", 2)] == ["type:1"]
    await _quarantined(bench, "type:0", "pending")
    assert await bench.put(a_task(0)) == [Put.DUPLICATE]
    await _purge(bench, "type:0")


async def test_an_envelope_that_cannot_be_read(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    record = await bench.record("type:0")
    record.raw = b"\xc1"
    await bench.damage("t/type:0", pack_task(record))
    await bench.beat("a")
    assert [one.task.id for one in await bench.lease("a", 2)] == ["type:1"]
    await _quarantined(bench, "type:0", "pending")


async def test_among_the_scheduled(bench: Bench) -> None:
    await bench.put(a_task(0, delay=5.0), a_task(1, delay=5.0))
    await bench.damage("t/type:0")
    bench.later(5.0)
    await bench.queue.maintain(1.0)
    assert (await bench.record("type:1")).state is State.PENDING
    await _quarantined(bench, "type:0", "scheduled")
    await _purge(bench, "type:0")


async def test_in_a_line(bench: Bench) -> None:
    await bench.put(a_task(0, key="k"), a_task(1, key="k"))
    await bench.beat("a")
    for delivery in await bench.lease("a", 2):
        await bench.settle(delivery, Parked())
    await bench.damage("t/type:0")
    [verdict] = await bench.queue.control([Unpark("type", "k", 2)])
    assert verdict.count == 1
    assert [one.task.id for one in await bench.lease("a", 2)] == ["type:1"]
    await _quarantined(bench, "type:0", "pending")
    assert (await bench.queue.parked(["type"], None, 9)).items == []
    await _purge(bench, "type:0")


async def test_held_by_a_living_worker(bench: Bench) -> None:
    await bench.queue.control([Declare("type", "lane")])
    await bench.put(a_task(0, lane="lane"), a_task(1, lane="lane"))
    await bench.beat("a")
    first, second = await bench.lease("a", 2, lane="lane")
    await bench.damage("t/type:0")
    reply = await bench.beat("a", first, second)
    assert reply.held == [Hold.LOST, Hold.KEPT]
    await _quarantined(bench, "type:0", "processing")
    body = await bench.body("type:0")
    assert body.lane == "lane"
    assert await bench.settle(first) is Settled.LOST
    assert await bench.settle(second) is Settled.APPLIED
    await _purge(bench, "type:0")


async def test_held_by_a_dead_worker(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    await bench.beat("a")
    await bench.beat("b")
    await bench.lease("a", 2)
    await bench.damage("t/type:0")
    for _ in range(int(LEASE) * 2 + 2):
        bench.later(1.0)
        await bench.beat("b")
        await bench.queue.maintain(1.0)
    await _quarantined(bench, "type:0", "processing")
    assert (await bench.record("type:1")).losses == 1
    await _purge(bench, "type:0")


async def test_among_the_final(bench: Bench) -> None:
    await bench.put(a_task(0, result_ttl=5.0), a_task(1, result_ttl=5.0))
    await bench.queue.control([Cancel("type:0"), Cancel("type:1")])
    await bench.damage("t/type:0")
    bench.later(5.0)
    await bench.queue.maintain(1.0)
    assert isinstance(await bench.body("type:1"), Tombstone)
    await _quarantined(bench, "type:0", "")
    assert not any(name.endswith("/quarantined") for name in await bench.counts())
    await _purge(bench, "type:0")


async def test_a_tombstone(bench: Bench) -> None:
    await bench.put(a_task(0, result_ttl=0.0))
    await bench.queue.control([Cancel("type:0")])
    await bench.queue.maintain(1.0)
    await bench.damage("t/type:0")
    assert await bench.put(a_task(0)) == [Put.DUPLICATE]
    bench.later(1e6)
    await bench.queue.maintain(1.0)
    await _purge(bench, "type:0")


async def test_a_purge_of_what_nobody_has_met_yet_forgets_it(bench: Bench) -> None:
    await bench.put(a_task(0), a_task(1))
    await bench.damage("t/type:0")
    verdicts = await bench.queue.control([Purge("type:0"), Purge("type:1"), Purge("type:2")])
    assert [one.did for one in verdicts] == [Did.APPLIED, Did.APPLIED, Did.UNKNOWN]
    assert await bench.body("type:0") is None
    names = [event.name for event in await bench.events() if event.id == "type:0"]
    assert names == [EventName.ACCEPTED, EventName.QUARANTINED]


async def test_a_purge_that_names_its_request_can_be_repeated(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.damage("t/type:0")
    await bench.beat("a")
    assert await bench.lease("a") == []
    wish = Purge("type:0", request="wish")
    verdicts = await bench.queue.control([wish, wish, Purge("type:0", request="another")])
    assert [one.did for one in verdicts] == [Did.APPLIED, Did.APPLIED, Did.UNKNOWN]
    assert await bench.queue.control([wish]) == [Verdict(Did.APPLIED, count=1)]
    # Its id is taken for as long as a client may repeat the purge, as that of other tasks is.
    assert await bench.put(a_task(0)) == [Put.DUPLICATE]
    bench.later(121.0)
    await bench.queue.maintain(1.0)
    assert await bench.body("type:0") is None
    assert await bench.put(a_task(0)) == [Put.NEW]


async def test_a_purge_frees_the_unique_key_of_what_cannot_be_read(bench: Bench) -> None:
    task = a_task("khash~1", unique_key="hash")
    await bench.put(task)
    await bench.damage("t/type:khash~1")
    assert await bench.put(a_task("khash~2", unique_key="hash")) == [Put.DUPLICATE]
    await bench.beat("a")
    assert await bench.lease("a") == []
    await _purge(bench, "type:khash~1")
    assert await bench.put(a_task("khash~2", unique_key="hash")) == [Put.NEW]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\xa3abc"], ids=repr)
async def test_rows_of_the_queue_itself(bench: Bench, body: bytes) -> None:
    """They are written anew: what they said is lost, no task is."""
    await bench.put(a_task(0), a_task(1, unique_key="hash"))
    await bench.queue.control([Pause("other"), Declare("type", "type")])
    await bench.beat("a")
    await bench.beat("b")
    [mine] = await bench.lease("a")
    for key in ("worker/a", "turn/a", "mark", "lane/other", "type/type", "u/type/hash"):
        await bench.damage(key, body)
    with pytest.raises(LeaseLost):
        await bench.lease("a", call=2)
    await bench.queue.maintain(1.0)
    assert (await bench.beat("a", mine, answered=1)).held == [Hold.KEPT]
    [other] = await bench.lease("a", call=2)
    assert await bench.settle(mine) is Settled.APPLIED
    assert await bench.settle(other) is Settled.APPLIED
    [verdict] = await bench.queue.control([Declare("type", "type")])
    assert verdict.did is Did.APPLIED


async def test_a_worker_whose_row_stays_unreadable_is_given_up_in_time(bench: Bench) -> None:
    await bench.put(a_task(0))
    await bench.beat("a")
    await bench.beat("b")
    await bench.lease("a")
    await bench.damage("worker/a", b"\xc1")
    for _ in range(int(LEASE) * 2 + 2):
        bench.later(1.0)
        await bench.beat("b")
        await bench.queue.maintain(1.0)
    assert (await bench.record("type:0")).losses == 1
