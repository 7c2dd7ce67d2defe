"""The runner of isolated handlers, over a pool that this test serves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from support import isolated_app
from support.fake_queue import delivery
from support.virtual import VirtualLoop, run, tools
from support.workers import until
from unit.isolation.test_pool import FakeProcess
from xqueue_core.task import AnyOutcome, HandBack, RetryAt, Success
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.isolation import children as module
from xqueue_core.worker.isolation.children import Children
from xqueue_core.worker.isolation.member import At, Child
from xqueue_core.worker.isolation.pool import Pool
from xqueue_core.worker.isolation.post import Post
from xqueue_core.worker.isolation.wire import VERSION, Began, Done, Ready, Setup
from xqueue_core.worker.job import Job
from xqueue_core.worker.options import WorkerOptions


class FakePost:
    """Calls the pool at once, in the caller's thread."""

    made: list[FakePost]

    def __init__(self, setup: Setup, make: Callable[[Callable[[], Child]], Pool]) -> None:
        self.pool = self._pool = make(lambda: Child(FakeProcess(), 0.0))
        self.made.append(self)

    def start(self) -> None:
        self.pool.tick()

    def call(self, call: Callable[[Pool], None]) -> None:
        call(self.pool)

    def dies(self) -> None:
        """The thread ends before its time."""
        Post._abandon(self)  # type: ignore[arg-type]

    def join(self, seconds: float) -> None:
        """Nothing to wait for."""

    def ready(self) -> Child:
        """Let one child be ready, if none is."""
        child = next(one for one in self.pool.children if one.at in (At.STARTING, At.IDLE))
        if child.at is At.STARTING:
            self.pool.received(child, Ready(VERSION))
        return child


class Running:
    """The runner, and what it told."""

    def __init__(self, **options: Any) -> None:
        self.ended: list[tuple[Job, AnyOutcome | None]] = []
        self.app = isolated_app.app
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.children = Children(
            WorkerOptions(**{"children": 2, **options}),
            tools(),
            AsyncioHost(loop),
            lambda job, outcome: self.ended.append((job, outcome)),
            self.app,
            worker="w~1",
            came=lambda job, at: None,
            progress=lambda job, progress: None,
            look=lambda: None,
        )

    @property
    def post(self) -> FakePost:
        return FakePost.made[-1]

    def job(self, name: str) -> Job:
        return Job(delivery(name, "look"), self.app.handlers["look"])

    async def start(self, name: str, **headers: Any) -> Job:
        job = self.job(name)
        job.delivery.task.headers.update(headers)
        self.children.start(job)
        await asyncio.sleep(0.01)  # the notes are delivered; the clock is virtual
        return job

    async def succeeds(self, name: str) -> None:
        """Run one to its end."""
        self.post.ready()
        await until("it is told", lambda: self.children.free > 0)
        job = await self.start(name)
        [child] = [child for child in self.post.pool.children if child.job is job]
        self.post.pool.received(child, Began())
        self.post.pool.received(child, Done(Success(b"1")))
        self.post.pool.ended(child)
        await until("it has ended", lambda: bool(self.ended))
        assert self.ended.pop() == (job, Success(b"1"))


@pytest.fixture(autouse=True)
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes, and an app that a child would find."""
    FakePost.made = []
    monkeypatch.setattr(module, "Post", FakePost)
    made = isolated_app.make("memory://")
    monkeypatch.setattr(isolated_app, "app", made, raising=False)
    monkeypatch.setitem(sys.modules, "support.isolated_app", isolated_app)


def test_what_cannot_be_sent_is_handed_back_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        one = Running()
        one.post.ready()
        await asyncio.sleep(0.01)
        free = one.children.free
        job = await one.start("spoiled", bad=object())
        [(ended, outcome)] = one.ended
        assert ended is job
        assert isinstance(outcome, HandBack)
        assert (outcome.ran, outcome.unable) == (False, "isolation")
        assert "cannot be sent" in outcome.reason
        assert one.children.free == free
        assert any(job.id in record.getMessage() for record in caplog.records)
        one.ended.clear()
        await one.succeeds("well")
        await one.app.aclose()

    run(main())


def test_children_that_nobody_serves_any_more_are_started_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        one = Running()
        child = one.post.ready()
        await asyncio.sleep(0.01)
        job = await one.start("running")
        one.post.pool.received(child, Began())
        one.post.dies()
        await asyncio.sleep(0.01)
        [(ended, outcome)] = one.ended
        assert ended is job
        assert isinstance(outcome, RetryAt)
        assert outcome.failure.reason == "crashed"
        assert one.children.free > 0
        await one.start("too late")
        assert await handed_back(one)
        assert len(FakePost.made) == 1
        await asyncio.sleep(module.FIRST_WAIT)
        assert len(FakePost.made) == 2
        await one.start("too early")  # none of the new ones is ready
        assert await handed_back(one)
        await one.succeeds("well")
        one.post.ready()
        await asyncio.sleep(0.01)
        assert one.children.free == 1  # none of the old ones is counted
        await one.app.aclose()

    run(main())
    assert "child processes are started anew in 0.5 s" in caplog.text


async def handed_back(one: Running) -> bool:
    """True if the last that was started was, because of children."""
    outcome = one.ended[-1][1]
    one.ended.clear()
    return isinstance(outcome, HandBack) and outcome.unable == "isolation"


def test_what_happens_again_is_waited_for_longer_and_ends_with_the_worker() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one = Running()
        gaps: list[float] = []
        for count in range(1, 10):
            before = loop.time()
            one.post.dies()
            await until("it begins anew", lambda n=count: len(FakePost.made) > n, 60)  # type: ignore[misc]
            gaps.append(loop.time() - before)
        assert gaps[0] < 2 * module.FIRST_WAIT
        assert gaps[2] > 1.5 * gaps[1]
        assert gaps[-1] == pytest.approx(module.LONGEST_WAIT, abs=0.5)
        made = len(FakePost.made)
        one.post.dies()
        await asyncio.sleep(0.01)
        one.children.close()
        await asyncio.sleep(2 * module.LONGEST_WAIT)
        assert len(FakePost.made) == made
        await one.app.aclose()

    run(main())


def test_a_thread_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        one = Running()
        one.post.dies()
        real, fails = FakePost.start, [True, True]

        def start(post: FakePost) -> None:
            if fails:
                fails.pop()
                raise RuntimeError("can't start new thread")
            real(post)

        monkeypatch.setattr(FakePost, "start", start)
        await until("it begins anew", lambda: len(FakePost.made) == 4, 60)
        await one.succeeds("well")
        await one.app.aclose()

    run(main())
