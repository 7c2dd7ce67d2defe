"""Slots that change while a worker works."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.apps import make_app
from support.fake_queue import delivery
from support.virtual import run
from unit.worker.test_life import Living
from xqueue_core import XQueue
from xqueue_core.errors import ConfigError
from xqueue_core.worker import Worker
from xqueue_core.worker.duties import Life
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.pacing import Busy, Pacing


class Counting:
    """An app whose handlers take so long, and how many of them run."""

    def __init__(self, seconds: float) -> None:
        self.app: XQueue = make_app()
        self.running = self.most = 0

        @self.app.task(process_timeout=None)
        async def job() -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(seconds)
            self.running -= 1


def told(living: Living) -> list[Busy]:
    """What the worker says of how busy it is, from now on."""
    said: list[Busy] = []
    living.task.cancel()
    living.life = Life(living.engine, said.append)
    living.task = asyncio.create_task(living.life.run())
    return said


def test_slots_follow_the_load_up_and_down_and_heartbeats_tell() -> None:
    async def main() -> None:
        counting = Counting(5.0)
        living = Living(counting.app, concurrency=50, min_concurrency=5, prefetch=10)
        await asyncio.sleep(3)
        assert living.queue.beats[-1][0].slots == 5
        assert living.queue.leases[-1].limit == 6
        living.queue.add(*(delivery(str(n)) for n in range(1000)))
        await asyncio.sleep(1)
        assert counting.running == 5
        await asyncio.sleep(30)
        assert counting.most == 50
        assert living.queue.beats[-1][0].slots == 50
        await living.settled(1000)
        await asyncio.sleep(60)
        assert living.queue.beats[-1][0].slots == 5
        await living.stop()

    run(main())


def test_with_a_fixed_number_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Any] = []
    monkeypatch.setattr(Pacing, "run", lambda self: looks.append(self))

    async def main() -> None:
        counting = Counting(1.0)
        living = Living(counting.app, concurrency=4)
        living.queue.add(*(delivery(str(n)) for n in range(40)))
        await living.settled(40)
        await living.stop()
        assert counting.most == 4
        assert {beat.slots for beat, _ in living.queue.beats} == {4}

    run(main())
    assert not looks


def test_lowering_stops_nothing_that_runs() -> None:
    async def main() -> None:
        counting = Counting(10.0)
        living = Living(counting.app, concurrency=8, prefetch=2)
        living.queue.add(*(delivery(str(n)) for n in range(40)))
        await asyncio.sleep(3)
        living.engine.fix(2)
        await asyncio.sleep(5)
        assert counting.running == 8
        await asyncio.sleep(5)
        assert counting.running == 2
        await asyncio.sleep(50)
        assert counting.running == 2
        living.engine.fix(12)  # more than there were at the start
        await asyncio.sleep(8)
        assert counting.running == counting.most == 12
        await living.settled(40)
        await living.stop()

    run(main())


def test_slots_set_by_hand_do_not_follow_the_load() -> None:
    async def main() -> None:
        counting = Counting(1.0)
        living = Living(counting.app, concurrency=50, min_concurrency=5)
        await asyncio.sleep(1)
        living.engine.fix(3)
        living.queue.add(*(delivery(str(n)) for n in range(100)))
        await living.settled(100)
        assert counting.most == 3
        await living.stop()

    run(main())


def test_a_loop_that_is_late_costs_slots() -> None:
    async def main() -> None:
        counting = Counting(5.0)
        living = Living(counting.app, concurrency=64, min_concurrency=4, prefetch=0)
        living.queue.add(*(delivery(str(n)) for n in range(2000)))
        await asyncio.sleep(20)
        assert living.engine.desk.slots == 64
        deliver = living.crossing.inward._schedule
        loop = asyncio.get_running_loop()
        living.crossing.inward._schedule = lambda call: loop.call_later(0.4, call)
        await asyncio.sleep(40)
        slots = living.engine.desk.slots
        assert slots <= 32
        living.crossing.inward._schedule = deliver
        await asyncio.sleep(30)
        assert living.engine.desk.slots > slots
        await living.stop()

    run(main())


def test_it_says_how_busy_it_is() -> None:
    async def main() -> None:
        counting = Counting(5.0)
        living = Living(counting.app, concurrency=4, prefetch=1)
        said = told(living)
        await asyncio.sleep(5)
        assert set(said) == {Busy(4, 0.0, False)}
        living.queue.add(delivery("a"), delivery("b"))
        await asyncio.sleep(2.5)
        assert said[-1] == Busy(4, 0.5, False)
        living.queue.add(*(delivery(str(n)) for n in range(20)))
        await asyncio.sleep(2.5)
        assert said[-1] == Busy(4, 1.0, True)
        await living.stop()

    run(main())


def test_a_worker_whose_threads_are_all_taken_is_saturated() -> None:
    async def main() -> None:
        app = make_app()

        @app.task
        def plain() -> None: ...

        living = Living(app, concurrency=50, threads=2, prefetch=2)
        said = told(living)
        living.crossing.inward.connect(lambda batch: None)
        living.queue.add(*(delivery(str(n), "plain") for n in range(20)))
        await asyncio.sleep(2.5)
        assert said[-1] == Busy(50, 1.0, True)
        living.life.stop()
        await living.stop()

    run(main())


@pytest.mark.parametrize("given", [{"min_concurrency": 6}, {"min_concurrency": 0}])
def test_bounds_that_are_none_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="min_concurrency"):
        WorkerOptions.of(make_app().settings(), concurrency=5, **given)


@pytest.mark.parametrize("slots", [0, -1, 100_001])
def test_a_host_cannot_set_what_is_no_number_of_slots(slots: int) -> None:
    worker = Worker(Counting(1.0).app)
    with pytest.raises(ValueError, match="1 to 100000"):
        worker.resize(slots)


@pytest.mark.parametrize(("slots", "ahead"), [(100, 25), (50, 13), (4, 1), (1, 1), (200, 50)])
def test_as_much_is_fetched_ahead_as_befits_the_slots(slots: int, ahead: int) -> None:
    assert WorkerOptions().ahead(slots) == ahead
