"""Desk, solitary, deadlines, watchman, progress, threads: the parts without a broker."""

from __future__ import annotations

import asyncio
import math
import threading
from itertools import pairwise

import pytest

from support.virtual import run, tools
from unit.worker.parts import OPTIONS, make_job, settle_down
from xqueue_core.calls import Hold
from xqueue_core.task import AnyOutcome, Event, HandBack, Progress
from xqueue_core.worker.deadlines import Deadlines
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.job import Job, Told
from xqueue_core.worker.link import Link, deadline
from xqueue_core.worker.progress import INTERVAL, Publisher, Reporter
from xqueue_core.worker.solitary import Solitary
from xqueue_core.worker.threads import Pool
from xqueue_core.worker.watchman import Watchman


class Alone:
    """A Solitary and what it did."""

    def __init__(self) -> None:
        self.desk = Desk(4, 2, 2)
        self.now = 0.0
        self.started: list[Job] = []
        self.refused: list[AnyOutcome] = []
        self.beats = 0
        self.solitary = Solitary(
            self.desk,
            30.0,
            lambda: self.now,
            lambda job: self.solitary.ready(job),
            self.started.append,
            self._refuse,
            self._beat,
            lambda: not self.desk.settling,
        )
        self.suspect = make_job("suspect", losses=2)
        self.other = make_job("other")

    def _refuse(self, job: Job, outcome: AnyOutcome) -> None:
        self.refused.append(outcome)

    def _beat(self) -> None:
        self.beats += 1

    def acknowledge(self, hold: Hold = Hold.KEPT) -> None:
        """A heartbeat of now is acknowledged."""
        _, held = self.desk.held()
        self.solitary.acknowledged(held, [hold] * len(held))


def test_a_suspect_starts_when_all_others_have_ended_and_are_recorded() -> None:
    one = Alone()
    one.desk.take(one.other)
    one.desk.take(one.suspect)
    one.solitary.admit(one.suspect)
    one.solitary.look()
    one.desk.leave(one.other)
    one.solitary.look()
    assert one.started == []
    assert one.desk.room == 0
    one.desk.settling.discard(one.other)
    one.acknowledge()
    one.solitary.look()
    assert one.started == []
    one.acknowledge(Hold.UNKNOWN)
    assert one.started == []
    one.acknowledge()
    assert one.started == [one.suspect]
    busy = [one.solitary.busy]
    one.desk.leave(one.suspect)
    one.solitary.ended(one.suspect)
    assert [*busy, one.solitary.busy] == [True, False]
    assert one.desk.room == 6


def test_a_suspect_does_not_wait_for_ever() -> None:
    one = Alone()
    one.desk.take(one.other)
    one.desk.take(one.suspect)
    one.solitary.admit(one.suspect)
    one.now = 31.0
    one.solitary.look()
    assert one.started == []
    assert isinstance(one.refused[0], HandBack)
    assert one.refused[0].unable == "alone"


def test_a_suspect_that_is_not_alone_any_more_waits_anew() -> None:
    one = Alone()
    one.desk.take(one.suspect)
    one.solitary.admit(one.suspect)
    one.solitary.look()
    assert not one.suspect.waits
    one.desk.take(one.other)  # from a call that was under way
    one.acknowledge()
    one.solitary.look()
    assert (one.started, one.suspect.waits) == ([], True)
    one.desk.leave(one.other)
    one.desk.settling.discard(one.other)
    one.acknowledge()  # it said that the suspect waits
    assert one.started == []
    beats = one.beats
    one.solitary.look()
    assert one.beats == beats + 1
    one.acknowledge()
    assert one.started == [one.suspect]


def test_a_suspect_can_be_withdrawn() -> None:
    one = Alone()
    one.solitary.admit(one.suspect)
    assert not one.solitary.withdraw(one.other)
    assert one.solitary.withdraw(one.suspect)
    assert not one.solitary.busy


def test_deadlines_expire_in_time_and_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        running: set[Job] = set()
        expired: list[tuple[str, float]] = []
        begun = loop.time()
        deadlines = Deadlines(
            running,
            AsyncioHost(loop),
            loop.time,
            lambda job: expired.append((job.id, loop.time() - begun)),
        )
        for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("gone", 1.5)):
            job = make_job(name)
            job.deadline = begun + seconds
            running.add(job)
            deadlines.watch(job.deadline)
            if name == "gone":
                loop.call_later(1.2, running.discard, job)
        await asyncio.sleep(10)
        assert [name for name, _ in expired] == ["job:a", "job:b", "job:c"]
        for (_, at), due in zip(expired, (1.0, 2.0, 3.0), strict=True):
            assert 0 <= at - due < 0.05
        assert all(job.deadline == math.inf for job in running)

    run(main())


def test_a_time_that_stands_still_expires_later() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        job = make_job("a", process_timeout=2)
        late: list[float] = []
        begun = job.started = loop.time()
        deadlines = Deadlines(
            {job}, AsyncioHost(loop), loop.time, lambda job: late.append(loop.time() - begun)
        )
        link = Link(job, loop.time, None)  # type: ignore[arg-type]
        job.deadline = deadline(job)
        deadlines.watch(job.deadline)
        await asyncio.sleep(1.5)
        deadlines.rest(job, begun + 1)
        await asyncio.sleep(8.5)
        assert (late, deadline(job), link.left()) == ([], math.inf, 1.0)
        deadlines.resume(job)
        deadlines.resume(job)
        assert link.left() == pytest.approx(1.0)
        await asyncio.sleep(10)
        assert late == [pytest.approx(11.0, abs=0.05)]

    run(main())


@pytest.mark.parametrize(("returned", "told"), [(1.9, Told.NOTHING), (2.1, Told.TIMEOUT)])
def test_word_of_a_return_that_comes_late_makes_no_time_out(returned: float, told: Told) -> None:
    job = make_job("a", process_timeout=2)
    job.started, job.told = 100.0, Told.TIMEOUT
    deadlines = Deadlines({job}, None, lambda: 105.0, lambda job: None)  # type: ignore[arg-type]
    deadlines.rest(job, 100.0 + returned)
    assert job.told is told


def test_the_watchman_knows_what_cannot_be_stopped() -> None:
    desk = Desk(4, 2, 2)
    now = 100.0
    watchman = Watchman(desk, OPTIONS, lambda: now)
    waiting, fine, late = make_job("a"), make_job("b"), make_job("c", process_timeout=5)
    for job in (waiting, fine, late):
        desk.take(job)
    fine.started = late.started = 100.0
    now = 105.5
    assert watchman.overdue() == []
    now = 106.5
    assert watchman.overdue() == [late]
    assert watchman.hopeless() == []
    now = 136.0
    assert watchman.hopeless() == [late]


def test_progress_is_throttled_and_the_last_is_sent() -> None:
    async def main() -> None:
        sent: list[tuple[float, float | None]] = []
        own = tools()
        begun = own.clock()

        def send(event: Event) -> None:
            sent.append((round(own.clock() - begun, 3), event.data["percent"]))

        reporter = Reporter(send, AsyncioHost(asyncio.get_running_loop()), "w~1", own)
        job = make_job()
        for n in range(100):
            reporter.report(job, Progress(percent=float(n)))
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert sent[0] == (0.0, 0.0)
        assert 5 <= len(sent) <= 7
        assert all(b[0] - a[0] >= INTERVAL - 0.001 for a, b in pairwise(sent))
        assert sent[-1][1] == 99.0
        reporter.report(job, Progress(percent=100.0))
        reporter.report(job, Progress(percent=100.5))
        reporter.last(job)
        await asyncio.sleep(1)
        assert [percent for _, percent in sent[-2:]] == [100.0, 100.5]

    run(main())


def test_the_publisher_never_fails_a_task() -> None:
    class Broken:
        def __init__(self) -> None:
            self.batches: list[int] = []

        async def publish(self, events: list[Event]) -> None:
            self.batches.append(len(events))
            raise ConnectionError("away")

    async def main() -> None:
        broken = Broken()
        publisher = Publisher(broken)  # type: ignore[arg-type]
        task = asyncio.create_task(publisher.run())
        event = _event("a")
        for one in (event, _event("b"), event):
            publisher.add(one)
        await settle_down()
        assert broken.batches == [2]
        assert publisher.dropped == 2
        task.cancel()

    run(main())


def _event(name: str) -> Event:
    sent: list[Event] = []
    clock = tools()
    host = AsyncioHost(asyncio.get_running_loop())
    Reporter(sent.append, host, "w", clock).report(make_job(name), Progress())
    return sent[0]


def test_threads_are_bounded_daemons_and_reused() -> None:
    threads = Pool(2)
    seen: list[threading.Thread] = []
    done = threading.Semaphore(0)

    def work() -> None:
        seen.append(threading.current_thread())
        done.release()

    for _ in range(5):
        assert threads.free
        threads.submit(work)
        assert done.acquire(timeout=10)
        threads.finished()
    assert len(set(seen)) == 1
    assert all(one.daemon for one in seen)
    threads.close()
    seen[0].join(10)
    assert not seen[0].is_alive()
