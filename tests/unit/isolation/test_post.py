"""The thread between the pool and its children, when it ends before its time."""

from __future__ import annotations

import os
import threading

import pytest

from unit.isolation.test_pool import Bench
from unit.worker.parts import make_job
from xqueue_core.task import RetryAt, Success
from xqueue_core.worker.isolation.member import Child, Gone, Health, Room
from xqueue_core.worker.isolation.pool import Pool
from xqueue_core.worker.isolation.post import Post
from xqueue_core.worker.isolation.verdict import End, outcome_of
from xqueue_core.worker.isolation.wire import VERSION, Done, Returned, Setup
from xqueue_core.worker.job import Job, Told

SETUP = Setup(VERSION, "app", [], [], [], "w~1", {}, None, 1, 1000)


def broken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Post:
    """The thread of this pool, which has run, in the test's, and met with an error."""

    def tick(pool: Pool) -> float:
        raise MemoryError("too much")

    monkeypatch.setattr(Pool, "tick", tick)
    post = Post(SETUP, lambda spawn: bench.pool)
    post.run()
    return post


def ended(bench: Bench, job: Job) -> End:
    """How it ended."""
    [end] = [end for end in bench.ends() if end.job is job]
    return end


def test_what_children_have_said_stands_when_nobody_hears_them_any_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(most=5)
    jobs: list[Job] = []
    children: list[Child] = []
    for name in ("leaving", "parting", "running", "late"):
        bench.ready()
        job, child = bench.begins(name)
        jobs.append(job)
        children.append(child)
    children += bench.ready()
    leaving, parting, running, late = jobs
    bench.pool.received(children[0], Done(Success(b"1")))
    bench.pool.received(children[1], Returned(Success(b"2")))
    bench.pool.kill(late, Told.CANCEL)
    bench.notes.clear()
    broken(bench, monkeypatch)
    assert ended(bench, leaving).outcome == Success(b"1")
    assert ended(bench, parting).outcome == Success(b"2")
    assert ended(bench, late).why is Told.CANCEL
    crash = outcome_of(ended(bench, running), lambda: 0.5)
    assert isinstance(crash, RetryAt)
    assert crash.failure.reason == "crashed"
    assert all(bench.process(child).killed for child in children)
    assert bench.notes.count(Room(-1)) == 1
    assert isinstance(bench.notes[0], Health)
    assert bench.notes[-1] == Gone()
    assert "cannot be served any more" in caplog.text
    assert "MemoryError: too much" in caplog.text


def test_what_is_started_when_nobody_serves_children_is_handed_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    waiting = bench.start("waiting")
    post = broken(bench, monkeypatch)
    late = make_job("late", "isolated")
    post.call(lambda pool: pool.start(late, b""))
    post.call(lambda pool: pool.kill(late, Told.CANCEL))  # it has ended
    post.call(Pool.close)
    for job in (waiting, late):
        end = ended(bench, job)
        assert (end.sent, end.outcome) == (False, None)
        assert end.fault == "cannot be served any more: MemoryError('too much')"


def test_what_is_started_while_the_thread_ends_is_handed_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    late = make_job("late", "isolated")

    def tick(pool: Pool) -> float:
        post.call(lambda pool: pool.start(late, b""))
        raise MemoryError

    monkeypatch.setattr(Pool, "tick", tick)
    post = Post(SETUP, lambda spawn: bench.pool)
    post.run()
    assert not ended(bench, late).sent


def test_one_call_that_fails_leaves_no_other_without_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(pool: Pool) -> None:
        raise LookupError("no such job")

    bench = Bench()
    late = make_job("late", "isolated")
    post = Post(SETUP, lambda spawn: bench.pool)
    post.call(fails)
    post.call(fails)
    post.call(lambda pool: pool.start(late, b""))
    post.run()
    assert not ended(bench, late).sent
    assert caplog.text.count("LookupError: no such job") == 2


def test_a_thread_that_cannot_be_started_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    bench = Bench()
    post = Post(SETUP, lambda spawn: bench.pool)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="new thread"):
        post.start()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(post._wakes)
