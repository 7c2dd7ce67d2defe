"""The pool while plugins in a child are told of a task's end."""

from __future__ import annotations

import pytest

from unit.isolation.test_pool import Bench
from xqueue_core.task import Success
from xqueue_core.worker.isolation import pool as pools
from xqueue_core.worker.isolation.member import At, Came
from xqueue_core.worker.isolation.verdict import End
from xqueue_core.worker.isolation.wire import Done, Returned
from xqueue_core.worker.job import Told


def test_plugins_that_do_not_end_change_nothing_and_the_slot_comes_free() -> None:
    bench = Bench(per_child=2)
    bench.ready()
    job, child = bench.begins()
    bench.pool.received(child, Returned(Success(b"1")))
    bench.pool.kill(job, Told.TIMEOUT)  # its time is over, but so is its code
    assert (bench.process(child).killed, bench.ends()) == (0, [])
    bench.later(pools.PART - 0.1)
    assert bench.process(child).killed == 0
    bench.later(0.2)
    assert bench.process(child).killed == 1
    bench.dies(child, -9)
    assert bench.ends() == [End(job, Success(b"1"), began=True, code=-9)]


def test_a_child_whose_plugins_have_ended_takes_the_next_task() -> None:
    bench = Bench(per_child=2)
    [child, *_] = bench.ready()
    job, child = bench.begins()
    bench.pool.received(child, Returned(Success(b"1")))
    bench.pool.received(child, Done(Success(b"2")))  # what it has said once stands
    assert bench.ends() == [End(job, Success(b"1"), began=True)]
    assert child.at is At.IDLE


@pytest.mark.parametrize("plugins", [True, False])
def test_that_a_handler_has_returned_is_told_at_once_and_once(plugins: bool) -> None:
    bench = Bench()
    bench.ready()
    job, child = bench.begins()
    bench.later(1.0)
    if plugins:
        bench.pool.received(child, Returned(Success(b"1")))
        bench.later(1.0)
    bench.pool.received(child, Done(Success(b"1")))
    came = Came(job, 101.0)
    assert [note for note in bench.notes if isinstance(note, Came)] == [came]
    bench.dies(child)
    assert bench.notes.index(came) < bench.notes.index(bench.ends()[0])


def test_what_returns_while_it_is_killed_was_late() -> None:
    bench = Bench()
    bench.ready()
    job, child = bench.begins()
    bench.pool.kill(job, Told.TIMEOUT)
    bench.pool.received(child, Returned(Success(b"1")))
    assert not [note for note in bench.notes if isinstance(note, Came)]


@pytest.mark.parametrize("why", [Told.STOP, Told.CANCEL, Told.LOST])
def test_plugins_are_not_waited_for_when_the_worker_ends(why: Told) -> None:
    bench = Bench()
    bench.ready()
    job, child = bench.begins()
    bench.pool.received(child, Returned(Success(b"1")))
    bench.pool.kill(job, why)
    assert bench.process(child).killed == 1
    bench.dies(child, -9)
    [end] = bench.ends()
    assert (end.outcome, end.why) == (
        Success(b"1"),
        Told.LOST if why is Told.LOST else Told.NOTHING,
    )
