"""An engine's whole life on one loop and a virtual clock: no thread, no broker."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from support.apps import make_app
from support.fake_queue import FakeQueue, delivery
from support.fake_semaphore import FakeSemaphore
from support.virtual import run, tools
from xqueue_core import Context, XQueue
from xqueue_core.abc import Faces
from xqueue_core.calls import Hold
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.task import Canceled, HandBack, RetryAt, Success
from xqueue_core.worker.crossing import Crossing
from xqueue_core.worker.duties import Exit, Life
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Term


class Living:
    """Engine and executor on this loop, over a fake queue without a semaphore."""

    def __init__(
        self,
        app: XQueue,
        semaphore: FakeSemaphore | None = None,
        *,
        queue: FakeQueue | None = None,
        **options: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.queue = queue or FakeQueue()
        self.tools = tools()
        own = WorkerOptions(**{"concurrency": 4, "prefetch": 2, **options})
        term = Term(own.lease - own.margin)
        crossing = self.crossing = Crossing(loop.call_soon, loop.call_soon)
        self.executor = Executor(crossing, own, self.tools, term, AsyncioHost(loop), app=app)
        faces = Faces(self.queue, semaphore=semaphore)
        specs = dict(app.handlers)
        lanes = sorted({spec.lane for spec in specs.values()})
        self.engine = Engine("w~1", faces, faces, specs, lanes, crossing, own, self.tools, term)
        self.life = Life(self.engine)
        self.task = asyncio.create_task(self.life.run())

    async def settled(self, count: int) -> dict[str, Any]:
        """Outcomes by the task's name, when so many are recorded."""
        while len(self.queue.settled) < count:
            await asyncio.sleep(0.1)
        return {id.partition(":")[2]: end for (id, _), end in self.queue.settled.items()}

    async def stop(self) -> Exit:
        """Stop, and wait for the end."""
        self.life.stop()
        return await self.task


def make() -> tuple[XQueue, list[str]]:
    """An app whose handler takes ten seconds, and what it started."""
    app, started = make_app(), []

    @app.task(process_timeout=None)
    async def job() -> None:
        started.append("job")
        await asyncio.sleep(10)

    return app, started


def test_a_worker_without_a_semaphore_works_until_it_is_stopped() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app)
        living.queue.add(*(delivery(str(n)) for n in range(20)))
        ends = await living.settled(20)
        assert list(ends.values()) == [Success()] * 20
        await asyncio.sleep(100)
        assert not living.task.done()
        assert await living.stop() is Exit.STOPPED
        assert len(started) == 20
        assert living.queue.beats[-1][0].leaving
        assert not living.life.abandoned

    run(main())


def test_an_outage_loses_no_outcome_and_starts_nothing_twice() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app)
        living.queue.add(*(delivery(str(n)) for n in range(4)))
        await asyncio.sleep(5)
        for name in ("lease", "extend"):
            living.queue.fail[name] = deque([Unavailable("away")] * 1000)
        living.queue.fail["settle"] = deque([Unknown("?")] * 1000)
        await asyncio.sleep(60)
        assert living.queue.settled == {}
        living.queue.fail.clear()
        ends = await living.settled(4)
        assert list(ends.values()) == [Success()] * 4
        assert len(started) == 4
        held = {id for id, _ in living.queue.beats[-1][1]}
        assert held <= {f"job:{n}" for n in range(4)}
        await living.stop()

    run(main())


def test_a_drain_waits_for_the_grace_and_hands_back_the_rest() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app, grace=3.0)
        living.queue.add(*(delivery(str(n)) for n in range(6)))
        await asyncio.sleep(1)
        begun = living.tools.clock()
        assert await living.stop() is Exit.STOPPED
        assert 3.0 <= living.tools.clock() - begun < 4.5
        ends = await living.settled(6)
        assert sorted(end.ran for end in ends.values()) == [False] * 2 + [True] * 4
        assert all(isinstance(end, HandBack) and end.reason == "stop" for end in ends.values())
        assert len(started) == 4

    run(main())


def test_heartbeats_say_so_while_it_drains() -> None:
    async def main() -> None:
        app, ran = make()
        living = Living(app, grace=3.0)
        living.queue.add(delivery("1"))
        while not ran:
            await asyncio.sleep(0.1)
        assert not any(beat.draining for beat, _ in living.queue.beats)
        stop = asyncio.create_task(living.stop())
        await asyncio.sleep(0.1)
        assert not stop.done()
        last, _ = living.queue.beats[-1]
        assert last.draining
        assert not last.leaving
        await stop

    run(main())


def test_what_was_handed_back_unstarted_does_not_start_when_the_loop_comes_to_itself() -> None:
    async def main() -> None:
        app, started = make_app(), []
        release = asyncio.Event()

        @app.task(process_timeout=None)
        async def job() -> None:
            started.append("job")
            await release.wait()

        living = Living(app, concurrency=1, prefetch=1, grace=3.0)
        living.queue.add(delivery("runs"), delivery("waits"))
        await asyncio.sleep(1)
        living.crossing.inward.connect(lambda batch: None)  # the handlers' loop is blocked
        await living.stop()
        assert len(await living.settled(2)) == 2
        assert living.life.abandoned
        release.set()
        await asyncio.sleep(1)
        assert started == ["job"]

    run(main())


def test_canceled_and_lost_deliveries() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app, concurrency=2, prefetch=2)
        living.queue.add(*(delivery(name) for name in ("kept", "lost", "waits", "canceled")))
        await asyncio.sleep(3)
        living.queue.holds = {"job:lost": Hold.LOST, "job:canceled": Hold.CANCELED}
        await asyncio.sleep(2)
        assert living.queue.settled == {("job:canceled", 1): Canceled()}
        assert len(started) == 3  # the lost one's slot serves the next
        ends = await living.settled(3)
        assert "lost" not in ends
        await living.stop()
        assert ("job:lost", 1) not in living.queue.settled

    run(main())


def test_what_a_heartbeat_knows_nothing_of_goes_on() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app)
        living.queue.add(delivery("kept"))
        await asyncio.sleep(3)
        living.queue.holds = {"job:kept": Hold.UNKNOWN}
        assert await living.settled(1) == {"kept": Success()}
        await living.stop()

    run(main())


def test_a_time_out_that_only_the_drain_ends_is_no_hand_back() -> None:
    async def main() -> None:
        app = make_app()

        @app.task
        async def job() -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep(1000)  # heeds the second wish only

        living = Living(app, grace=2.0)
        living.queue.add(delivery("late", process_timeout=1.0))
        await asyncio.sleep(3)
        await living.stop()
        [end] = living.queue.settled.values()
        assert isinstance(end, RetryAt)
        assert end.timed_out

    run(main())


def test_when_all_that_waits_for_keys_is_lost_more_is_fetched() -> None:
    async def main() -> None:
        app, semaphore = make_app(), FakeSemaphore()

        @app.task(key="k")
        async def job() -> None: ...

        semaphore.fail["acquire"] = deque([Unavailable("away")] * 1000)
        living = Living(app, semaphore, concurrency=2, prefetch=0)
        living.queue.add(*(delivery(str(n), key="k") for n in range(4)))
        await asyncio.sleep(3)
        living.queue.holds = {"job:0": Hold.LOST, "job:1": Hold.LOST}
        await asyncio.sleep(3)
        semaphore.fail.clear()
        assert await living.settled(2) == {"2": Success(), "3": Success()}
        await living.stop()

    run(main())


def test_after_a_resume_nothing_is_fetched_until_a_heartbeat_has_told_of_it() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app)
        living.queue.reply.paused = ["job"]
        await asyncio.sleep(3.5)
        calls = len(living.queue.leases)
        living.queue.reply.paused = []
        living.queue.add(*(delivery(str(n)) for n in range(4)))
        await asyncio.sleep(0.3)
        assert len(living.queue.leases) == calls
        assert list((await living.settled(4)).values()) == [Success()] * 4
        await living.stop()

    run(main())


def test_a_burst_ends_where_all_lanes_are_paused() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app, burst=True)
        living.queue.reply.paused = ["job"]
        living.queue.add(delivery("stays"))
        assert await living.task is Exit.EMPTY
        assert living.queue.settled == {}

    run(main())


def test_while_no_heartbeat_is_acknowledged_nothing_is_fetched() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app)
        await asyncio.sleep(3)
        living.queue.fail["extend"] = deque([Unavailable("away")] * 1000)
        await asyncio.sleep(30)
        calls = len(living.queue.leases)
        living.queue.add(*(delivery(str(n)) for n in range(4)))
        await asyncio.sleep(10)
        assert (len(living.queue.leases), living.queue.settled) == (calls, {})
        living.queue.fail.clear()
        assert list((await living.settled(4)).values()) == [Success()] * 4
        await living.stop()

    run(main())


@pytest.mark.parametrize("lost", [False, True])
def test_what_runs_is_registered_at_the_first_sight_of_a_limit_whatever_fails(lost: bool) -> None:
    async def main() -> None:
        app, semaphore, release = make_app(), FakeSemaphore(), asyncio.Event()
        running: set[str] = set()
        most = 0

        @app.task(process_timeout=None)
        async def job(ctx: Context) -> None:
            nonlocal most
            running.add(ctx.id)
            most = max(most, len(running))
            await (asyncio.sleep(1) if ctx.id > "job:5" else release.wait())
            running.discard(ctx.id)

        living = Living(app, semaphore, concurrency=20)
        living.queue.add(*(delivery(str(n)) for n in range(5)))
        await asyncio.sleep(3)
        script = semaphore.lose if lost else semaphore.fail
        script["acquire"] = deque([Unknown("?")] * 2)
        semaphore.limit("lane:job", 2)
        await asyncio.sleep(5)
        assert len(semaphore.holders["lane:job"]) == 5
        living.queue.add(*(delivery(str(n)) for n in range(6, 9)))
        await asyncio.sleep(5)
        assert most == len(running) == 5
        release.set()
        await living.settled(8)
        await asyncio.sleep(3)
        assert not semaphore.holders["lane:job"]
        await living.stop()

    run(main())


def test_an_order_to_stop_stops() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app)
        await asyncio.sleep(2)
        living.queue.reply.stop = True
        assert await living.task is Exit.ORDERED

    run(main())


def test_a_first_stop_while_it_drains_by_order_takes_no_grace_away() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app, grace=1000.0)
        living.queue.add(delivery("a"))
        await asyncio.sleep(1)
        living.queue.reply.stop = True
        await living.engine.stopping.wait()
        living.life.stop()
        await asyncio.sleep(2)
        assert not living.task.done()
        living.life.stop()
        assert await living.task is Exit.ORDERED

    run(main())


def test_a_second_stop_does_not_wait() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app, grace=1000.0)
        living.queue.add(delivery("a"))
        await asyncio.sleep(1)
        living.life.stop()
        await asyncio.sleep(1)
        begun = living.tools.clock()
        await living.stop()
        assert living.tools.clock() - begun < 2
        assert isinstance((await living.settled(1))["a"], HandBack)

    run(main())


def test_what_outlives_its_time_out_is_settled_as_such_when_the_process_goes() -> None:
    async def main() -> None:
        app, released = make_app(), asyncio.Event()

        @app.task
        async def job() -> None:
            while not released.is_set():  # swallows every cancel, as code in a thread would
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    continue

        living = Living(app, grace=5.0, recycle=True)
        living.queue.add(delivery("deaf", process_timeout=2.0))
        assert await living.task is Exit.RECYCLE
        end = (await living.settled(1))["deaf"]
        assert isinstance(end, RetryAt)
        assert end.timed_out
        assert any(beat.overdue == ["job:deaf"] for beat, _ in living.queue.beats)
        released.set()

    run(main(), 500.0)
