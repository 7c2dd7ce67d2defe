"""How a worker ends while code runs on in it that cannot be stopped."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from support.apps import make_app
from support.fake_queue import FakeQueue, delivery
from support.fake_semaphore import FakeSemaphore
from support.virtual import run, tools
from unit.worker.parts import make_job
from unit.worker.test_life import Living, make
from xqueue_core import Reject, XQueue
from xqueue_core.calls import Settle, Settled
from xqueue_core.errors import BrokerGone, Refused, Unavailable, WorkerIdTaken
from xqueue_core.permits import Permit
from xqueue_core.task import Failed, HandBack, RetryAt, Success
from xqueue_core.worker.ending import FAREWELL, LAST_WORDS, WORD, Ending
from xqueue_core.worker.job import Job
from xqueue_core.worker.tools import Term


class Racing(Job):
    """Once ``armed``, its handlers' loop comes to itself after so many looks at it."""

    begun = 0.0
    armed = False
    looks = 0

    @property
    def started(self) -> float:
        begun = self.begun
        self.looks -= self.armed
        if self.armed and not self.looks and self.claim():
            self.begun = 5.0
        return begun

    @started.setter
    def started(self, value: float) -> None:
        self.begun = value


class Arming(Term):
    """Arms a job when nothing may start any more: that job's start is under way by then."""

    def __init__(self, job: Racing) -> None:
        super().__init__(1000.0)
        self._job = job

    def end(self) -> None:
        super().end()
        self._job.armed = True


def deaf(**options: Any) -> tuple[XQueue, asyncio.Event]:
    """An app whose handler takes no notice of its first cancel, and what ends it."""
    app, released = make_app(), asyncio.Event()

    @app.task(process_timeout=None, **options)
    async def job() -> None:
        try:
            await released.wait()
        except asyncio.CancelledError:
            await released.wait()

    @app.task
    async def quick() -> None: ...

    return app, released


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_what_starts_while_it_is_given_up_is_not_called_unstarted(looks: int) -> None:
    async def main() -> None:
        app, _ = deaf()
        living = Living(app, grace=0.0)
        await asyncio.sleep(1)
        job = Racing(delivery("races", process_timeout=None), app.handlers["job"])
        job.looks = looks
        living.engine.desk.take(job)
        living.crossing.inward.connect(lambda batch: None)  # no word reaches it in time
        living.engine.term = Arming(job)
        await living.stop()
        assert job.armed
        [end] = (await living.settled(1)).values()
        assert isinstance(end, HandBack)
        assert end.ran == bool(job.begun)

    run(main())


def test_what_runs_on_is_settled_last_and_keeps_its_permit() -> None:
    """Until its process ends, which is when this worker has nothing more to say."""

    async def main() -> None:
        app, released = deaf(max_concurrency=2)
        semaphore = FakeSemaphore(job=2)
        living = Living(app, semaphore, concurrency=2, grace=3.0)
        living.queue.add(delivery("deaf"))
        await asyncio.sleep(2)
        said: list[str] = []
        _overhear(living, semaphore, said)
        await living.stop()
        assert living.life.abandoned
        assert (await living.settled(1))["deaf"] == HandBack(ran=True, reason="stop")
        assert said[said.index("settle") :] == ["settle", "leave"]
        assert len(semaphore.holders["lane:job"]) == 1
        released.set()

    run(main())


@pytest.mark.parametrize("lane", ["job", "plain"])
def test_what_has_ended_is_settled_so_though_the_engine_has_not_heard_of_it(lane: str) -> None:
    """The word is on its way between the threads when the process has no more time."""

    async def main() -> None:
        app, release = make_app(), threading.Event()

        @app.task(process_timeout=None)
        async def job() -> None:
            await asyncio.sleep(2)
            raise Reject("no")

        @app.task(process_timeout=None)
        def plain() -> None:
            release.wait(10)
            raise Reject("no")

        living = Living(app, grace=5.0)
        living.queue.add(delivery("one", lane))
        await asyncio.sleep(1)
        [held] = living.engine.desk.active
        living.crossing.outward.connect(lambda batch: None)  # it does not arrive any more
        release.set()
        while held.outcome is None:
            await asyncio.sleep(0.1)
        await living.stop()
        [end] = (await living.settled(1)).values()
        assert isinstance(end, Failed)
        assert end.failure.reason == "rejected"

    run(main())


def test_what_never_started_gives_its_permit_back_before_what_runs_is_given_up() -> None:
    async def main() -> None:
        app, released = deaf(max_concurrency=2)
        semaphore = FakeSemaphore(job=2)
        living = Living(app, semaphore, concurrency=2, grace=3.0)
        living.queue.add(delivery("runs"))
        await asyncio.sleep(2)
        living.crossing.inward.connect(lambda batch: None)  # the handlers' loop is blocked
        living.queue.add(delivery("waits"))
        await asyncio.sleep(2)
        assert len(semaphore.holders["lane:job"]) == 2
        await living.stop()
        assert [[one.id for one in batch] for batch in living.queue.settles] == [
            ["job:waits"],
            ["job:runs"],
        ]
        assert len(semaphore.holders["lane:job"]) == 1
        released.set()

    run(main())


def test_what_ends_while_the_last_outcomes_are_recorded_is_not_given_up() -> None:
    async def main() -> None:
        app, released = deaf()
        living = Living(app, grace=3.0)
        living.queue.add(delivery("slow"))
        await asyncio.sleep(2)
        living.queue.fail["settle"] = deque([Unavailable("away")] * 1000)
        living.queue.add(delivery("done", "quick"))
        await asyncio.sleep(1)
        ending = asyncio.create_task(living.stop())
        await asyncio.sleep(3.0 + LAST_WORDS + 0.5)
        released.set()
        living.queue.fail.clear()
        await ending
        assert not living.life.abandoned
        assert list((await living.settled(2)).values()) == [Success()] * 2

    run(main())


@pytest.mark.parametrize("what", ["settle", "extend", "release"])
def test_a_broker_that_does_not_answer_keeps_no_process_from_ending(what: str) -> None:
    async def main() -> None:
        app, _ = deaf(max_concurrency=2)
        semaphore = FakeSemaphore(job=2)
        living = Living(app, semaphore, concurrency=2, grace=3.0)
        living.queue.add(delivery("runs"))
        await asyncio.sleep(2)
        living.queue.hang.add(what)
        semaphore.release = asyncio.Event().wait  # type: ignore[method-assign,assignment]
        begun = living.tools.clock()
        await living.stop()
        assert living.tools.clock() - begun < 3.0 + LAST_WORDS + FAREWELL + 3 * WORD + 0.1
        assert living.life.abandoned

    run(main())


@pytest.mark.parametrize(
    ("call", "error"),
    [("extend", WorkerIdTaken), ("extend", BrokerGone), ("lease", BrokerGone)],
)
def test_a_worker_that_has_nothing_left_to_work_for_ends_and_settles_nothing(
    call: str, error: type[Refused]
) -> None:
    """It was away for longer than its lease, and another has come under its id; or its broker's
    file is not there any more."""

    async def main() -> None:
        app, _ = deaf()
        ended: list[str] = []

        @app.task(process_timeout=None)
        async def polite() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append("polite")

        living = Living(app)
        living.queue.add(delivery("a", "polite"))
        await asyncio.sleep(2)
        living.queue.fail[call] = deque([error("w~1")] * 100)
        with pytest.raises(error):
            await living.task
        await asyncio.sleep(1)
        assert ended == ["polite"]
        assert living.queue.settled == {}
        assert not any(beat.leaving for beat, _ in living.queue.beats)

    run(main())


def _overhear(living: Living, semaphore: FakeSemaphore, said: list[str]) -> None:
    """Write down, in order, what the worker says to its broker that changes something."""
    settle, extend, release = living.queue.settle, living.queue.extend, semaphore.release

    async def settled(outcomes: Any) -> Any:
        said.append("settle")
        return await settle(outcomes)

    async def extended(beat: Any, held: Any) -> Any:
        if beat.leaving:
            said.append("leave")
        return await extend(beat, held)

    async def released(permits: list[Permit]) -> None:
        said.append("release")
        await release(permits)

    living.queue.settle = settled  # type: ignore[method-assign]
    living.queue.extend = extended  # type: ignore[method-assign]
    semaphore.release = released  # type: ignore[method-assign,assignment]


def test_a_drain_says_what_it_waits_for_and_for_how_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "xqueue.worker")

    async def main() -> None:
        app, _ = deaf()
        living = Living(app, grace=7.0)
        living.queue.add(delivery("slow", process_timeout=None))
        await asyncio.sleep(2)
        await living.stop()
        idle = Living(app)
        await asyncio.sleep(1)
        await idle.stop()

    run(main())
    said = [one.getMessage() for one in caplog.records if "stopping" in one.getMessage()]
    assert said == [
        "stopping; waits up to 7 s for 1 task: job:slow; told again, it hands back at once what "
        "has not ended",
        "stopping; nothing runs here",
    ]


def test_a_process_that_must_be_replaced_says_for_which_task_and_who_suffers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        app, released = make_app(), asyncio.Event()

        @app.task
        async def job() -> None:
            while not released.is_set():  # swallows every cancel, as code in a thread would
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    continue

        living = Living(app, grace=3.0, recycle=True)
        living.queue.add(
            delivery("stuck", process_timeout=2.0), delivery("other", process_timeout=None)
        )
        await living.task
        released.set()
        ends = await living.settled(2)
        assert ends["other"] == HandBack(ran=True, reason="recycle")
        assert isinstance(ends["stuck"], RetryAt)

    caplog.set_level(logging.INFO, "xqueue.worker")
    run(main())
    said = caplog.text
    assert "this process must be replaced; 1 task: job:stuck" in said
    assert "handing back (recycle) 1 task: job:other" in said
    assert said.count("job:stuck timed out, attempt 1 of 4: ran longer than 2 seconds") == 1


class Returning(FakeQueue):
    """What is handed back is ready again at once, in the same call."""

    async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
        verdicts = await super().settle(outcomes)
        back = [one for one in outcomes if type(one.outcome) is HandBack and one.token < 9]
        self.add(*(delivery(one.id.partition(":")[2], token=one.token + 1) for one in back))
        return verdicts


def test_what_goes_back_at_a_stop_is_not_fetched_again() -> None:
    """Between the wish to stop and the drain there are a few turns of the loop."""

    async def main() -> None:
        app, started = make()
        queue = Returning()
        living = Living(app, queue=queue)
        await asyncio.sleep(1)
        living.engine.stopping = asyncio.Event()  # whoever waits for the wish has not woken
        living.engine.stopping.set()
        queue.add(delivery("late"))
        await asyncio.sleep(5)
        assert started == []
        assert list(queue.settled) == [("job:late", 1)]
        living.task.cancel()
        await asyncio.gather(living.task, return_exceptions=True)

    run(main())


def test_what_has_been_claimed_but_not_begun_is_not_taken_for_timed_out() -> None:
    """Its handlers' thread is between two statements; no time has run."""

    async def main() -> None:
        job, left = make_job("a", process_timeout=60.0), list[Any]()
        engine: Any = SimpleNamespace(
            tools=tools(), why="stop", left=lambda job, outcome: left.append(outcome)
        )
        await asyncio.sleep(100)
        assert job.claim()
        Ending(engine, asyncio.Event())._give_up(job, ran=not job.claim())
        assert left == [HandBack(ran=True, reason="stop")]

    run(main())
