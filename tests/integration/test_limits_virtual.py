"""Limits that change under load, on a virtual clock: to the moment, and as often as wanted."""

from __future__ import annotations

import asyncio
import random

import pytest

from support.cluster import Cluster, until
from support.virtual import run
from xqueue_core.calls import Pause, Resume

#: Seconds within which a change of a limit is effective (P3.2), and the longest handler's.
SOON = 1.0


def test_lanes_run_exactly_as_many_as_their_limits_allow() -> None:
    async def main() -> None:
        cluster = Cluster({"a": 3, "b": 5}, lambda lane: 0.2)
        await cluster.submit("a", 400)
        await cluster.submit("b", 400)
        await cluster.start(2, concurrency=10)
        gauge = cluster.gauge
        await until("both lanes are full", lambda: gauge.now == {"a": 3, "b": 5}, 5.0)
        gauge.restart()
        await asyncio.sleep(6)
        assert gauge.share("a", 3) > 0.9
        assert gauge.share("b", 5) > 0.9
        await cluster.limit("a", 6)
        await cluster.limit("b", 2)
        await asyncio.sleep(SOON)
        gauge.restart()
        await asyncio.sleep(5)
        assert gauge.share("a", 6) > 0.9
        assert gauge.share("b", 2) > 0.9
        assert set(gauge.spent["b"]) <= {0, 1, 2}
        await cluster.stop()

    run(main())


def test_a_limit_first_set_while_fifty_run_drains_to_it() -> None:
    async def main() -> None:
        seconds = random.Random(1)
        cluster = Cluster({"a": None}, lambda lane: seconds.uniform(0.5, 3.0))
        await cluster.submit("a", 2_000)
        await cluster.start(5, concurrency=10)
        gauge = cluster.gauge
        await until("fifty run", lambda: gauge.now["a"] == 50, 5.0)
        await cluster.limit("a", 4)
        await asyncio.sleep(SOON)
        starts: list[int] = []
        gauge.started = lambda name, running: starts.append(running)
        await until("it has drained", lambda: gauge.now["a"] <= 4, 3.5)
        await asyncio.sleep(10)
        assert max(starts) <= 4, "nothing starts above the limit, within a second"
        assert len(starts) > 10
        await cluster.stop()

    run(main())


def test_raised_lowered_removed_and_pinned_under_load() -> None:
    async def main() -> None:
        cluster = Cluster({"a": 6}, lambda lane: 0.3)
        await cluster.submit("a", 3_000)
        await cluster.start(2, concurrency=10)
        gauge = cluster.gauge

        async def runs(count: int) -> None:
            await asyncio.sleep(SOON + 0.3)
            gauge.restart()
            await asyncio.sleep(3)
            assert gauge.share("a", count) > 0.9, (count, gauge.spent["a"])

        await runs(6)
        for limit in (12, 1, 20, 3):
            await cluster.limit("a", limit)
            await runs(limit)
        await cluster.limit("a", 9, pinned=False)  # a worker starts that declares another one
        await runs(3)
        await cluster.limit("a", None)  # the operator's is removed: the declared one counts again
        await runs(9)
        await cluster.limit("a", None, pinned=False)
        await runs(20)
        await cluster.limit("a", 2)
        await runs(2)
        await cluster.stop()

    run(main())


def test_a_pause_under_load_holds_no_permit_and_a_resume_fills_the_lane() -> None:
    async def main() -> None:
        cluster = Cluster({"a": 4}, lambda lane: 0.3)
        await cluster.submit("a", 1_000)
        await cluster.start(2, concurrency=10)
        gauge = cluster.gauge
        await until("the lane is full", lambda: gauge.now["a"] == 4, 5.0)
        await cluster.faces().queue.control([Pause("a")])
        await asyncio.sleep(2)
        assert gauge.now["a"] == 0
        [info] = await cluster.semaphore.inspect(["lane:a"])
        assert (info.holders, info.waiters) == ({}, [])
        await cluster.limit("a", 7)
        await asyncio.sleep(3)
        assert gauge.now["a"] == 0
        await cluster.faces().queue.control([Resume("a")])
        await until("the lane is full again", lambda: gauge.now["a"] == 7, 1.5)
        await cluster.stop()

    run(main())


def test_nothing_is_asked_again_and_again_while_all_slots_are_taken() -> None:
    """A lane at its limit asked to be woken for work it knew of, as fast as it could."""

    async def main() -> None:
        cluster = Cluster({"a": 20}, lambda lane: 30.0)
        await cluster.submit("a", 100)
        await cluster.start(2, concurrency=10)
        await until("all slots are taken", lambda: cluster.gauge.now["a"] == 20, 5.0)
        await asyncio.sleep(1)
        calls = [worker.engine.fetcher._number for worker in cluster.workers]
        await asyncio.sleep(20)
        after = [worker.engine.fetcher._number for worker in cluster.workers]
        assert max(b - a for a, b in zip(calls, after, strict=True)) <= 40
        for worker in cluster.workers:
            await worker.crash()

    run(main())


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_of_changes_and_crashes_exceeds_no_limit(seed: int) -> None:
    """At no time do more run than the limit, or than held permits when it was lowered."""

    async def main() -> None:
        rng = random.Random(seed)
        cluster = Cluster({"a": 3, "b": 5, "keyed": None}, lambda lane: rng.uniform(0.01, 0.4))
        ceiling = {"a": 3, "b": 5, **{f"keyed/k{n}": 2 for n in range(3)}}
        wrong: list[str] = []

        def started(name: str, running: int) -> None:
            if running > ceiling.get(name, 1 << 30):
                wrong.append(f"{name}: {running} run, {ceiling[name]} may")

        cluster.gauge.started = started
        for lane in "ab":
            await cluster.submit(lane, 1_500)
        await cluster.submit("keyed", 300, keys=3, limit=2)
        await cluster.start(4, concurrency=6)
        await asyncio.sleep(1)
        for _ in range(60):
            lane = rng.choice("ab")
            before = (await cluster.semaphore.inspect([f"lane:{lane}"]))[0].holders
            limit = rng.randint(1, 8)
            # Raised first, so that what is granted while it changes is within it.
            ceiling[lane] = max(limit, len(before))
            await cluster.limit(lane, limit)
            await asyncio.sleep(rng.uniform(0.1, 1.5))
            if rng.random() < 0.25:
                await cluster.workers.pop(rng.randrange(len(cluster.workers))).crash()
                await asyncio.sleep(rng.uniform(0.0, 1.0))
                # Who starts declares the lanes' limits: the operator's stand above them.
                await cluster.start(concurrency=6)
        assert not wrong
        assert min(cluster.gauge.ended[lane] for lane in ("a", "b", "keyed")) > 100
        await until("all keyed are done", lambda: cluster.gauge.ended["keyed"] >= 300, 60.0)
        assert not wrong
        # Tasks with losses, too, wait for their permits here: none goes to and fro.
        assert max(worker.engine.fetcher._number for worker in cluster.workers) < 3_000
        await cluster.stop()

    run(main())
