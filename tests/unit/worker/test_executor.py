"""Running deliveries, engine and handlers on one loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from support.apps import make_app
from support.fake_queue import delivery
from support.virtual import VirtualLoop, run, tools
from support.workers import until
from xqueue_core import Context, XQueue
from xqueue_core.permits import Permit
from xqueue_core.task import Canceled, Event, HandBack, RetryAt, Success
from xqueue_core.worker.crossing import Crossing, Outward
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.job import Job, Recall, Tell, Told
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Term, Tools, steady


class Executing:
    """An executor; the engine's side is this test."""

    def __init__(self, app: XQueue, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        self.app = app
        self.crossing = Crossing(loop.call_soon_threadsafe, loop.call_soon_threadsafe)
        self.term = Term(12.0)
        self.tools = tools() if isinstance(loop, VirtualLoop) else Tools()
        self.term.acknowledged(self.tools.clock())
        self.ended: list[Job] = []
        self.events: list[Event] = []
        self.crossing.outward.connect(self._take)
        self.executor = Executor(
            self.crossing,
            WorkerOptions(**{"concurrency": 2, "threads": 2, **options}),
            self.tools,
            self.term,
            AsyncioHost(loop),
            worker="w~1",
            app=app,
        )

    def _take(self, batch: list[Outward]) -> None:
        for item in batch:
            if isinstance(item, Job):
                self.ended.append(item)
            else:
                self.events.append(item)

    def start(self, lane: str, name: str = "1", **fields: Any) -> Job:
        """Send a job across."""
        job = Job(delivery(name, lane, **fields), self.app.handlers[lane])
        self.crossing.inward.send(job)
        return job

    def tell(self, job: Job, why: Told) -> None:
        """Ask it to end."""
        self.crossing.inward.send(Tell(job, why))

    async def until_ended(self, count: int) -> list[Any]:
        """Outcomes, when so many have ended."""
        await until(f"{count} have ended", lambda: len(self.ended) >= count)
        return [job.outcome for job in self.ended]


def virtually(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on the virtual clock."""
    run(main())


def test_no_more_run_than_there_are_slots() -> None:
    async def main() -> None:
        app, now, most = make_app(), 0, 0

        @app.task
        async def job() -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(1)
            now -= 1

        one = Executing(app)
        for n in range(6):
            one.start("job", str(n))
        assert await one.until_ended(6) == [Success()] * 6
        assert most == 2

    virtually(main)


def test_nothing_starts_on_a_stale_lease() -> None:
    async def main() -> None:
        app, ran = make_app(), []

        @app.task
        async def job(n: int) -> None:
            ran.append(n)
            await asyncio.sleep(13)

        one = Executing(app, concurrency=1)
        for n in range(3):
            one.start("job", str(n), payload=b'{"n": %d}' % n)
        outcomes = await one.until_ended(3)
        assert outcomes == [Success(), HandBack(reason="stale"), HandBack(reason="stale")]
        assert ran == [0]
        one.term.acknowledged(one.tools.clock())
        one.start("job", "again", payload=b'{"n": 9}')
        await one.until_ended(4)
        assert ran == [0, 9]

    virtually(main)


def test_what_has_not_started_can_be_recalled_or_told_to_end() -> None:
    async def main() -> None:
        app, ran = make_app(), []

        @app.task
        async def job() -> None:
            ran.append("job")
            await asyncio.sleep(5)

        @app.task
        async def other() -> None:
            ran.append("other")

        one = Executing(app, concurrency=1)
        one.start("job", "running")
        canceled, lost = one.start("job", "canceled"), one.start("job", "lost")
        one.start("job", "recalled")
        one.start("other", "left")
        await asyncio.sleep(1)
        one.tell(canceled, Told.CANCEL)
        one.tell(lost, Told.LOST)
        one.crossing.inward.send(Recall("paused", lane="job"))
        await one.until_ended(5)
        ends = {job.id: job.outcome for job in one.ended}
        assert ends == {
            "job:running": Success(),
            "job:canceled": Canceled(),
            "job:lost": None,
            "job:recalled": HandBack(reason="paused"),
            "other:left": Success(),
        }
        assert ran == ["job", "other"]

    virtually(main)


def test_a_word_that_comes_before_the_first_step_still_stops_it() -> None:
    async def main() -> None:
        app, ran = make_app(), []

        @app.task
        async def job() -> None:
            ran.append(1)

        one = Executing(app)
        job_ = one.start("job")
        one.tell(job_, Told.CANCEL)
        assert await one.until_ended(1) == [Canceled()]
        assert ran == []
        one.tell(job_, Told.LOST)  # too late: nothing happens
        await asyncio.sleep(1)
        assert len(one.ended) == 1

    virtually(main)


def test_a_later_reason_takes_the_place_of_an_earlier_one() -> None:
    async def main() -> None:
        app = make_app()

        @app.task(process_timeout=1.0)
        async def job() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(60)

        one = Executing(app)
        job_ = one.start("job", process_timeout=1.0)
        await asyncio.sleep(2)
        assert job_.told is Told.TIMEOUT
        one.tell(job_, Told.CANCEL)
        one.tell(job_, Told.STOP)
        assert await one.until_ended(1) == [Canceled()]

    virtually(main)


def test_time_outs_are_kept_to_the_moment() -> None:
    async def main() -> None:
        app = make_app()

        @app.task
        async def job() -> None:
            await asyncio.sleep(60)

        one = Executing(app, concurrency=50)
        begun = one.tools.clock()
        for n in range(50):
            one.start("job", str(n), process_timeout=1.0 + n / 10)
        await one.until_ended(50)
        assert one.tools.clock() - begun == pytest.approx(5.9, abs=0.1)
        assert all(isinstance(job.outcome, RetryAt) and job.outcome.timed_out for job in one.ended)
        assert [job.id for job in one.ended] == [f"job:{n}" for n in range(50)]

    virtually(main)


def test_each_handler_has_a_context_of_its_own() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def main() -> None:
        app = make_app()

        @app.task
        async def job(ctx: Context) -> str:
            before = variable.get()
            variable.set(ctx.id)
            await asyncio.sleep(1)
            return f"{before} {variable.get() == ctx.id}"

        one = Executing(app)
        one.start("job", "a")
        one.start("job", "b")
        assert await one.until_ended(2) == [Success(b'"unset True"')] * 2

    virtually(main)


def test_plain_functions_have_bounded_threads_and_leave_slots_to_others() -> None:
    release, lock = threading.Event(), threading.Lock()
    now, most = 0, 0

    async def main() -> None:
        app = make_app()

        @app.task
        def plain() -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            assert release.wait(20)
            with lock:
                now -= 1

        @app.task
        async def job() -> None: ...

        one = Executing(app, concurrency=10, threads=3)
        for n in range(6):
            one.start("plain", str(n))
        one.start("job")
        assert await one.until_ended(1) == [Success()]
        assert one.ended[0].id == "job:1"
        release.set()
        await one.until_ended(7)
        assert most <= 3
        one.executor.close()

    asyncio.run(main())


def test_a_plain_function_can_look_and_report() -> None:
    async def main() -> None:
        app = make_app()

        @app.task
        def plain(ctx: Context) -> str:
            ctx.progress_nowait(done=1, total=2, message="half")
            event = threading.Event()
            while not ctx.canceled:
                event.wait(0.005)
            raise RuntimeError("told")

        one = Executing(app)
        job = one.start("plain")
        await until("progress came", lambda: one.events)
        assert one.events[0].data["message"] == "half"
        assert (one.events[0].worker, one.events[0].delivery) == ("w~1", 1)
        one.tell(job, Told.LOST)
        assert await one.until_ended(1) == [None]
        one.executor.close()

    asyncio.run(main())


def test_the_clock_counts_seconds() -> None:
    before = steady()
    threading.Event().wait(0.01)
    assert 0.005 < steady() - before < 5


def test_a_plain_function_whose_error_exits_costs_no_thread() -> None:
    class Exits(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    async def main() -> None:
        app = make_app()

        @app.task
        def plain() -> None:
            raise Exits

        @app.task
        async def job() -> None:
            raise Exits

        one = Executing(app, threads=1)
        for n in range(3):
            one.start("plain", str(n))
            one.start("job", str(n))
        for outcome in await one.until_ended(6):
            assert isinstance(outcome, RetryAt)
            assert outcome.failure.type.endswith("Exits")
        one.executor.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("why", "outcome"),
    [(Told.CANCEL, Canceled()), (Told.STOP, HandBack(ran=True, reason="stop"))],
)
def test_a_plain_function_can_end_where_it_looks(why: Told, outcome: object) -> None:
    async def main() -> None:
        app = make_app()

        @app.task
        def plain(ctx: Context) -> str:
            ctx.check()
            begun.set()
            event = threading.Event()
            for _ in range(4000):
                ctx.check()
                event.wait(0.005)
            return "never told"

        begun = threading.Event()
        one = Executing(app)
        job = one.start("plain")
        await until("it runs", begun.is_set)
        one.tell(job, why)
        assert await one.until_ended(1) == [outcome]
        one.executor.close()

    asyncio.run(main())
    Context.for_test().check()


def test_nothing_starts_on_a_permit_that_may_have_expired() -> None:
    async def main() -> None:
        app, started = make_app(), []

        @app.task
        async def job() -> None:
            started.append("job")

        executing = Executing(app)
        term = Term(1.0)
        for name, key in (("lane", False), ("key", True)):
            waits = Job(delivery(name), app.handlers["job"])
            grip = Grip(Permit(name, "k"), "job", term, job=waits)
            waits.permit, waits.key_permit = (None, grip) if key else (grip, None)
            executing.crossing.inward.send(waits)
        await asyncio.sleep(0.1)
        assert [job.outcome for job in executing.ended] == [HandBack(reason="stale")] * 2
        assert started == []
        term.acknowledged(executing.tools.clock())
        good = Job(delivery("good"), app.handlers["job"])
        good.permit = Grip(Permit("good", "k"), "job", term, job=good)
        executing.crossing.inward.send(good)
        await asyncio.sleep(0.1)
        assert started == ["job"]

    run(main())
