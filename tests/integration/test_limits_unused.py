"""What a worker cannot use it leaves to others: permits of lanes and keys, and tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support import cluster as module
from support.cluster import Cluster, Cut, Worker, until
from support.virtual import run
from xqueue_core.calls import Beat, Order, Pause, Resume, Want
from xqueue_core.errors import Refused
from xqueue_core.permits import Permit, Request

LIMIT = 4


async def busy(takes: dict[str, float], *, slots: int = 60) -> Cluster:
    """A worker with ten slots and one with more, and a limited lane with no end of tasks."""
    cluster = Cluster({"a": LIMIT, "free": None}, lambda lane: takes[lane])
    await cluster.submit("a", 4000)
    await cluster.start(1, grace=60.0)
    await asyncio.sleep(3)
    await cluster.start(1, concurrency=slots, grace=60.0)
    await asyncio.sleep(5)
    return cluster


@asynccontextmanager
async def gone(cluster: Cluster) -> AsyncIterator[None]:
    """Nothing of its workers is left afterwards, whatever they are waiting for."""
    try:
        yield
    finally:
        for worker in cluster.workers:
            await worker.crash()


async def share(cluster: Cluster, seconds: float = 20.0) -> float:
    """The part of the time in which as many run as the limit allows."""
    cluster.gauge.restart()
    await asyncio.sleep(seconds)
    return cluster.gauge.share("a", LIMIT)


async def held_by(cluster: Cluster, worker: Worker, key: str = "lane:a") -> int:
    """How many permits of the key a worker holds."""
    [info] = await cluster.semaphore.inspect([key])
    return sum(holder == worker.name for holder in info.holders.values())


async def quieted(cluster: Cluster, worker: Worker) -> None:
    await cluster.faces().queue.control([Order(worker=worker.name, quiet=True)])


async def draining_through_a_pause(cluster: Cluster, worker: Worker) -> None:
    worker.life.stop()
    await asyncio.sleep(1.5)
    await cluster.faces().queue.control([Pause("a")])
    await asyncio.sleep(3)
    await cluster.faces().queue.control([Resume("a")])


@pytest.mark.parametrize("rest", [quieted, draining_through_a_pause])
def test_a_worker_that_fetches_nothing_takes_no_permits(
    rest: Callable[[Cluster, Worker], Any],
) -> None:
    async def main() -> None:
        cluster = await busy({"a": 0.2, "free": 40.0})
        async with gone(cluster):
            await cluster.submit("free", 6)
            await asyncio.sleep(3)
            worker = cluster.workers[0]
            assert worker.engine.desk.active
            await rest(cluster, worker)
            await asyncio.sleep(3)
            assert await share(cluster) > 0.97
            assert await held_by(cluster, worker) == 0

    run(main())


def test_a_worker_cut_off_from_its_queue_alone_keeps_no_permit() -> None:
    async def main() -> None:
        cluster = await busy({"a": 0.2, "free": 40.0})
        async with gone(cluster):
            worker = cluster.workers[0]
            worker._cuts[0].gone = True
            await asyncio.sleep(8)  # its lease has run out
            assert await share(cluster) > 0.97
            assert await held_by(cluster, worker) == 0

    run(main())


async def die(cluster: Cluster, lane: str, name: str) -> None:
    """A worker leases the head of a lane, and is not heard of again."""
    queue = cluster.faces().queue
    await queue.extend(Beat(worker=name, lease=2.0, heartbeat=0.4, lanes=[lane]), [])
    leased = await queue.lease([Want(lane, 1)], 1, 1, name, 0.0)
    assert len(leased.deliveries) == 1
    for _ in range(60):
        await queue.extend(Beat(worker="other", lease=2.0, heartbeat=0.4), [])
        await queue.maintain(0.1)
        await asyncio.sleep(0.2)


def test_while_a_suspect_runs_alone_its_worker_takes_no_permits() -> None:
    async def main() -> None:
        takes = {"a": 0.2, "free": 50.0}
        cluster = Cluster({"a": LIMIT, "free": None}, lambda lane: takes[lane])
        async with gone(cluster):
            await cluster.submit("free", 1)
            await die(cluster, "free", "first")
            await die(cluster, "free", "second")
            await cluster.submit("a", 4000)
            await cluster.start(1)
            worker = cluster.workers[0]
            await until("it runs alone", lambda: cluster.gauge.now["free"] == 1, 30.0)
            await cluster.start(1)
            await asyncio.sleep(8)
            assert await share(cluster) > 0.97
            assert worker.engine.desk.solitary
            assert await held_by(cluster, worker) == 0

    run(main())


@pytest.mark.parametrize(("full", "limit"), [(3, 3), (1, 1)])
def test_full_workers_leave_permits_to_those_that_have_slots(full: int, limit: int) -> None:
    async def main() -> None:
        takes = {"a": 0.2, "free": 300.0}
        cluster = Cluster({"a": limit, "free": None}, lambda lane: takes[lane])
        async with gone(cluster):
            await cluster.submit("free", 12 * full)
            await cluster.start(full)
            await until("full", lambda: cluster.gauge.now["free"] == 10 * full, 20.0)
            await cluster.start(1)
            await cluster.submit("a", 3000)
            await asyncio.sleep(6)
            before = cluster.gauge.ended["a"]
            await asyncio.sleep(40)
            assert cluster.gauge.ended["a"] - before > 0.9 * 40 * limit / takes["a"]

    run(main())


def test_a_task_without_a_slot_does_not_keep_its_key_from_others() -> None:
    async def main() -> None:
        takes = {"free": 50.0, "keyed": 0.2}
        cluster = Cluster({"free": None, "keyed": None}, lambda lane: takes[lane])
        async with gone(cluster):
            await cluster.submit("free", 10)
            await cluster.start(1, prefetch=2)
            await until("full", lambda: cluster.gauge.now["free"] == 10, 20.0)
            await cluster.submit("keyed", 50, keys=1, limit=1)
            await asyncio.sleep(1)
            await cluster.start(1, prefetch=2)
            # But for two, which wait for a slot there, all that is fetched ahead.
            await until("others ran", lambda: cluster.gauge.ended["keyed"] >= 48, 20.0)
            await until("those ran, too", lambda: cluster.gauge.ended["keyed"] == 50, 60.0)

    run(main())


def test_told_to_be_quiet_a_worker_starts_nothing_that_waited_behind_a_key() -> None:
    async def main() -> None:
        takes = {"free": 50.0, "keyed": 0.2}
        cluster = Cluster({"free": None, "keyed": None}, lambda lane: takes[lane])
        async with gone(cluster):
            await cluster.submit("free", 10)
            await cluster.start(1, prefetch=20)
            await until("full", lambda: cluster.gauge.now["free"] == 10, 20.0)
            await cluster.submit("keyed", 1, keys=1, limit=1)
            desk = cluster.workers[0].engine.desk
            await until(
                "it waits for a slot", lambda: cluster.workers[0].engine.gate.waits == 1, 5.0
            )
            await cluster.submit("free", 19)
            await until("so do others, behind it", lambda: len(desk.active) == 30, 5.0)
            await quieted(cluster, cluster.workers[0])
            await until("all went back", lambda: len(desk.active) == 10, 5.0)
            assert all(job.started for job in desk.active)

    run(main())


def test_a_key_waits_for_its_slot_no_longer_where_slots_become_free_soon() -> None:
    async def main() -> None:
        takes = {"free": 1.6, "keyed": 0.01}
        cluster = Cluster({"free": None, "keyed": None}, lambda lane: takes[lane])
        async with gone(cluster):
            await cluster.submit("free", 10)
            await cluster.start(1, prefetch=4)
            await until("full", lambda: cluster.gauge.now["free"] == 10, 20.0)
            await cluster.submit("keyed", 4, keys=4, limit=1)
            await until("they ran", lambda: cluster.gauge.ended["keyed"] == 4, 5.0)
            worker = cluster.workers[0]
            await cluster.submit("keyed", 2000, keys=50, limit=1)
            await until("all ran", lambda: cluster.gauge.ended["keyed"] == 2004, 20.0)
            assert not worker.engine.gate.slow

    run(main())


class Picky(Cut):
    """Takes no outcome of this task; permits take a while."""

    refused = ""

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)

        async def call(*given: Any) -> Any:
            if name == "acquire":
                await asyncio.sleep(0.02)
            elif any(one.id == self.refused for one in given[0]):
                raise Refused("too large")
            return await method(*given)

        return call if name in ("acquire", "settle") else method


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> type[Picky]:
    monkeypatch.setattr(module, "Cut", Picky)
    return Picky


def test_an_outcome_that_is_never_taken_keeps_nothing_else_from_being_fetched(
    picky: type[Picky], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picky, "refused", "free:1")

    async def main() -> None:
        cluster = Cluster({"free": None, "keyed": None}, lambda lane: 0.1)
        async with gone(cluster):
            await cluster.submit("free", 1)
            await cluster.start(1, concurrency=4)
            await asyncio.sleep(60)  # it is in doubt by now
            held = Permit(id="other:1", key="key:keyed:k0")
            wish = Request(
                id=held.id, key=held.key, worker="other", lease=60.0, queue=False, limit=1
            )
            await cluster.semaphore.acquire([wish], 0.0)
            await cluster.submit("keyed", 20, keys=1, limit=1)
            await asyncio.sleep(5)  # all that was fetched has been parked
            await cluster.submit("free", 10)
            await until("they ran", lambda: cluster.gauge.ended["free"] == 11, 10.0)
            await cluster.semaphore.release([held])
            await until("the parked ones ran", lambda: cluster.gauge.ended["keyed"] == 20, 30.0)

    run(main())


def test_a_hopeless_outcome_keeps_no_suspect_from_running(
    picky: type[Picky], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picky, "refused", "a:2")

    async def main() -> None:
        takes = {"a": 0.1, "free": 0.5}
        cluster = Cluster({"a": None, "free": None}, lambda lane: takes[lane])
        async with gone(cluster):
            await cluster.submit("free", 1)
            await die(cluster, "free", "first")
            await die(cluster, "free", "second")
            await cluster.submit("a", 1)
            await cluster.start(1)
            await until("the suspect ran", lambda: cluster.gauge.ended["free"] == 1, 300.0)

    run(main())
