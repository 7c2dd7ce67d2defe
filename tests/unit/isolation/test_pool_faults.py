"""What goes wrong in the worker while one child is served: that one pays, and no other."""

from __future__ import annotations

import pytest

from unit.isolation.test_pool import Bench, FakeProcess
from xqueue_core.task import Success
from xqueue_core.worker.isolation import pool as pools
from xqueue_core.worker.isolation.member import At, Child, Health
from xqueue_core.worker.isolation.verdict import outcome_of
from xqueue_core.worker.isolation.wire import Done
from xqueue_core.worker.job import Told


class Broken(FakeProcess):
    """Raises where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.raises: set[str] = set()

    def _raise(self, what: str) -> None:
        if what in self.raises:
            raise PermissionError(1, f"{what} is not permitted")

    def send(self, data: bytes = b"") -> None:
        self._raise("send")
        super().send(data)

    def kill(self) -> None:
        super().kill()
        self._raise("kill")

    def swept(self) -> bool:
        self._raise("swept")
        return super().swept()

    def reap(self) -> int:
        code = super().reap()
        self._raise("reap")
        return code


class BrokenBench(Bench):
    """Its processes may raise."""

    def _spawn(self) -> Child:
        child = super()._spawn()
        child.process = Broken()
        return child

    def broken(self, child: Child, *what: str) -> Broken:
        assert isinstance(child.process, Broken)
        child.process.raises = set(what)
        return child.process


def works(bench: Bench) -> None:
    """Another task runs as if nothing had been."""
    if not any(child.at is At.IDLE for child in bench.made):
        bench.ready()
    before = len(bench.ends())
    job, child = bench.begins("another")
    bench.pool.received(child, Done(Success(b"1")))
    bench.dies(child)
    [end] = bench.ends()[before:]
    assert (end.job, end.outcome) == (job, Success(b"1"))


@pytest.mark.parametrize("what", [{"swept"}, {"reap"}, {"swept", "reap"}], ids=str)
def test_a_child_whose_end_goes_wrong_is_told_all_the_same(
    what: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    bench = BrokenBench(most=3)
    bench.ready()
    job, child = bench.begins()
    bench.broken(child, *what)
    bench.ready()
    beside, other = bench.begins("beside")
    bench.pool.kill(job, Told.TIMEOUT)
    bench.dies(child, -9)
    [end] = bench.ends()
    assert (end.job, end.why, end.began) == (job, Told.TIMEOUT, True)
    assert child not in bench.pool.children
    assert caplog.records
    works(bench)
    assert (other.job, other.at) == (beside, At.BUSY)


def test_an_order_that_cannot_be_written_ends_that_task_alone() -> None:
    bench = BrokenBench()
    [child] = bench.ready()
    process = bench.broken(child, "send")
    job = bench.start()
    assert process.killed == 1
    bench.dies(child, -9)
    [end] = bench.ends()
    assert (end.job, end.sent, end.began) == (job, True, False)
    assert "cannot be served: PermissionError" in end.fault
    works(bench)


def test_a_child_that_cannot_be_killed_is_not_waited_for() -> None:
    bench = BrokenBench()
    bench.ready()
    job, child = bench.begins()
    process = bench.broken(child, "kill")
    bench.pool.kill(job, Told.CANCEL)
    [end] = bench.ends()
    assert (end.job, end.why, end.code) == (job, Told.CANCEL, None)
    assert not process.reaped  # that would wait for it
    bench.pool.received(child, Done(Success(b"1")))  # too late
    bench.pool.kill(job, Told.LOST)
    assert bench.ends() == [end]
    works(bench)
    bench.dies(child)
    assert bench.process(child).reaped
    assert len(bench.ends()) == 2


def test_what_fails_while_a_child_is_looked_at_is_its_own() -> None:
    bench = BrokenBench(most=3)
    bench.ready()
    job, child = bench.begins()
    bench.ready()
    bench.begins("beside")
    bench.pool.received(child, Done(Success(b"1")))
    process = bench.broken(child, "kill")
    bench.later(pools.LEAVE)  # it does not leave
    assert process.killed >= 1
    [end] = bench.ends()
    assert (end.job, end.outcome) == (job, Success(b"1"))
    assert outcome_of(end, lambda: 0.5) == Success(b"1")
    assert bench.at(At.BUSY) == 1


def test_a_pool_with_children_that_cannot_be_killed_ends() -> None:
    bench = BrokenBench()
    bench.ready()
    job, _ = bench.begins()
    bench.ready()
    for one in bench.made:
        bench.broken(one, "kill", "send")
    bench.pool.close()
    assert [(end.job, end.why) for end in bench.ends()] == [(job, Told.STOP)]
    assert not bench.pool.children


def test_whatever_the_start_of_a_child_raises_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    [child] = bench.made

    def spawn() -> Child:
        raise ValueError("embedded null byte")

    real = bench.pool.spawn
    monkeypatch.setattr(bench.pool, "spawn", spawn)
    bench.dies(child, 3)
    for _ in range(4):
        bench.later(1.0)
    assert Health("cannot be started: embedded null byte") in bench.notes
    monkeypatch.setattr(bench.pool, "spawn", real)
    bench.later(60.0)
    works(bench)
