"""What a limit must not do to others: suspects, keys' limits that change, a semaphore away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.cluster import Cluster, until
from support.virtual import run
from xqueue_core.calls import Beat, Want
from xqueue_core.errors import Unavailable


async def die(cluster: Cluster, lane: str, name: str) -> None:
    """A worker leases the head of a lane, and is not heard of again."""
    queue = cluster.faces().queue
    await queue.extend(Beat(worker=name, lease=2.0, heartbeat=0.4, lanes=[lane]), [])
    leased = await queue.lease([Want(lane, 1)], 1, 1, name, 0.0)
    assert len(leased.deliveries) == 1


async def live(cluster: Cluster, seconds: float) -> None:
    """Another worker lives for so long, and looks for the dead."""
    queue = cluster.faces().queue
    for _ in range(int(seconds / 0.2)):
        await queue.extend(Beat(worker="other", lease=2.0, heartbeat=0.4, lanes=["a"]), [])
        await queue.maintain(0.1)
        await asyncio.sleep(0.2)


def test_a_suspect_that_waits_for_a_permit_of_its_lane_keeps_nobody_from_working() -> None:
    async def main() -> None:
        takes = {"a": 55.0, "free": 0.05}
        cluster = Cluster({"a": 1, "free": None}, lambda lane: takes[lane])
        await cluster.submit("a", 1)
        await die(cluster, "a", "first")
        await live(cluster, 12)
        await die(cluster, "a", "second")
        await cluster.submit("a", 1)
        await cluster.start(1)
        gauge = cluster.gauge
        await until("the innocent one runs", lambda: gauge.now["a"] == 1, 5.0)
        await asyncio.sleep(12)
        view = cluster.faces().view
        assert view is not None
        [suspect] = await view.find(["a:1"])
        assert suspect is not None
        assert (suspect.losses, suspect.worker) == (2, "w1~1"), "fetched ahead"
        await cluster.submit("free", 50)
        await until("the others ran", lambda: gauge.ended["free"] == 50, 5.0)
        await until("so did the suspect, after", lambda: gauge.ended["a"] == 2, 120.0)
        await cluster.stop()

    run(main())


def test_a_keys_limit_that_is_first_set_while_its_tasks_run_counts_them() -> None:
    async def main() -> None:
        cluster = Cluster({"keyed": None}, lambda lane: 3.0)
        await cluster.submit("keyed", 8, keys=1)
        await cluster.start(1, concurrency=20)
        gauge = cluster.gauge
        await until("eight run", lambda: gauge.now["keyed"] == 8, 5.0)
        await cluster.semaphore.set_limit("key:keyed:k0", 2)
        await asyncio.sleep(1)  # within which it is effective
        await cluster.submit("keyed", 8, keys=1)
        starts: list[int] = []
        gauge.started = lambda name, running: starts.append(running)
        await asyncio.sleep(0.5)
        [info] = await cluster.semaphore.inspect(["key:keyed:k0"])
        assert (gauge.now["keyed"], len(info.holders)) == (8, 8)
        await until("all ended", lambda: gauge.ended["keyed"] == 16, 30.0)
        assert (len(starts), max(starts)) == (16, 2)  # told by lane and by key
        await cluster.stop()

    run(main())


def test_a_keys_line_runs_when_its_limit_is_removed() -> None:
    async def main() -> None:
        cluster = Cluster({"keyed": None}, lambda lane: 0.01)
        await cluster.semaphore.set_limit("key:keyed:k0", 1)
        await cluster.submit("keyed", 500, keys=1)
        await cluster.start(2)
        await asyncio.sleep(1)
        await cluster.semaphore.set_limit("key:keyed:k0", None)
        await until("all ran", lambda: cluster.gauge.ended["keyed"] == 500, 10.0)
        await cluster.stop()

    run(main())


class Outage:
    """A semaphore that can be away."""

    def __init__(self, face: Any) -> None:
        self._face = face
        self.away = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._face, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.away:
                raise Unavailable("away")
            return await method(*args, **kwargs)

        return call


def test_keyed_tasks_hold_no_slots_while_the_semaphore_is_away() -> None:
    async def main() -> None:
        cluster = Cluster({"keyed": None, "free": None}, lambda lane: 0.05)
        store = cluster.faces()
        outage = Outage(store.semaphore)
        cluster.faces = lambda: store._replace(semaphore=outage)  # type: ignore[method-assign,arg-type]
        await cluster.start(2)
        await asyncio.sleep(1)
        outage.away = True
        await cluster.submit("keyed", 200, keys=50, limit=1)
        await asyncio.sleep(1)
        await cluster.submit("free", 50)
        gauge = cluster.gauge
        await until("lanes without a limit go on", lambda: gauge.ended["free"] == 50, 10.0)
        await asyncio.sleep(20)
        running = gauge.ended["keyed"]
        outage.away = False
        await until("keyed ones run again", lambda: gauge.ended["keyed"] == 200, 20.0)
        assert running == 0
        most = [max(n) for name, n in gauge.spent.items() if "/" in name]
        assert set(most) == {1}
        await cluster.stop()

    run(main())


def test_a_worker_that_starts_without_the_semaphore_lives_and_starts_nothing_until_it_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An operator's limit of the lane that declares none is known to the semaphore alone."""

    async def main() -> None:
        cluster = Cluster({"free": None}, lambda lane: 0.5)
        await cluster.semaphore.set_limit("lane:free", 2)
        store = cluster.faces()
        outage = Outage(store.semaphore)
        cluster.faces = lambda: store._replace(semaphore=outage)  # type: ignore[method-assign,arg-type]
        outage.away = True
        await cluster.start(2)
        await cluster.submit("free", 20)
        await asyncio.sleep(30)
        gauge = cluster.gauge
        assert gauge.ended["free"] == gauge.now["free"] == 0
        view = store.view
        assert view is not None
        assert len(await view.workers()) == 2
        said = [one.getMessage() for one in caplog.records if "semaphore" in one.getMessage()]
        assert said[0] == (
            "the semaphore of the broker cannot be used yet, and may know of limits: nothing "
            "starts until it can (lanes: free): away"
        )
        assert 2 * 2 <= len(said) <= 2 * 4, "again and again, and seldom"
        outage.away = False
        await until("they run", lambda: gauge.now["free"] == 2, 3.0)
        await until("all ran", lambda: gauge.ended["free"] == 20, 20.0)
        assert max(gauge.spent["free"]) == 2
        await cluster.stop()

    run(main())


def test_a_worker_that_waits_for_the_semaphore_ends_at_once() -> None:
    async def main() -> None:
        cluster = Cluster({"free": None}, lambda lane: 0.5)
        store = cluster.faces()
        outage = Outage(store.semaphore)
        cluster.faces = lambda: store._replace(semaphore=outage)  # type: ignore[method-assign,arg-type]
        outage.away = True
        await cluster.start(1)
        await asyncio.sleep(30)
        before = asyncio.get_running_loop().time()
        await cluster.stop()
        assert asyncio.get_running_loop().time() - before < 0.5
        view = store.view
        assert view is not None
        assert await view.workers() == []

    run(main())
