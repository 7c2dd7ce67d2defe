"""The pool of children: no processes, and a clock that stands still."""

from __future__ import annotations

from typing import Any

import pytest

from support.fake_queue import delivery
from unit.worker.parts import make_job
from xqueue_core.task import Progress, Success
from xqueue_core.worker.isolation import pool as pools
from xqueue_core.worker.isolation.member import At, Child, Health, Note, Room
from xqueue_core.worker.isolation.pool import Pool
from xqueue_core.worker.isolation.verdict import End
from xqueue_core.worker.isolation.wire import (
    VERSION,
    Began,
    Done,
    Frames,
    Leave,
    Message,
    Ready,
    Reported,
    Run,
    ToChild,
    Unfit,
    frame,
)
from xqueue_core.worker.job import Job, Told


class FakeProcess:
    """A process that does nothing by itself."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.killed = 0
        self.left = 0  # looks at which something of its session is still there
        self.code = 0
        self.reaped = False
        self._frames: Frames[ToChild] = Frames(ToChild)

    def send(self, data: bytes = b"") -> None:
        self.sent.extend(self._frames.feed(data))

    def kill(self) -> None:
        self.killed += 1

    def swept(self) -> bool:
        self.left -= 1
        return self.left < 0

    def reap(self) -> int:
        self.reaped = True
        return self.code


class Bench:
    """A pool and what it told."""

    def __init__(self, most: int = 2, per_child: int = 1) -> None:
        self.now = 100.0
        self.notes: list[Note] = []
        self.progress: list[Progress] = []
        self.made: list[Child] = []
        self.refuse = ""
        self.pool = Pool(
            most,
            per_child,
            self._spawn,
            lambda: self.now,
            self.notes.append,
            lambda job, progress: self.progress.append(progress),
        )
        self.pool.tick()

    def _spawn(self) -> Child:
        if self.refuse:
            raise OSError(self.refuse)
        child = Child(FakeProcess(), self.now)
        self.made.append(child)
        return child

    def process(self, child: Child) -> FakeProcess:
        assert isinstance(child.process, FakeProcess)
        return child.process

    def ready(self, count: int = 1) -> list[Child]:
        """Let so many of those that start be ready."""
        found = [child for child in self.made if child.at is At.STARTING][:count]
        assert len(found) == count
        for child in found:
            self.pool.received(child, Ready(VERSION))
        return found

    def start(self, name: str = "a") -> Job:
        job = make_job(name, "isolated")
        self.pool.start(job, frame(Run(delivery(name, "isolated"), 60.0, None)))
        return job

    def begins(self, name: str = "a") -> tuple[Job, Child]:
        """A job whose child has said that it begins."""
        job = self.start(name)
        [child] = [child for child in self.made if child.job is job]
        self.pool.received(child, Began())
        return job, child

    def dies(self, child: Child, code: int = 0) -> None:
        self.process(child).code = code
        self.pool.ended(child)

    def ends(self) -> list[End]:
        return [note for note in self.notes if isinstance(note, End)]

    def room(self) -> int:
        return sum(note.more for note in self.notes if isinstance(note, Room))

    def at(self, *where: At) -> int:
        return sum(child.at in where for child in self.pool.children)

    def later(self, seconds: float) -> float:
        self.now += seconds
        return self.pool.tick()


def test_a_task_goes_to_a_child_that_is_ready_and_another_is_warmed() -> None:
    bench = Bench()
    assert (bench.at(At.STARTING), bench.room()) == (1, 0)
    [child] = bench.ready()
    assert (bench.at(At.IDLE), bench.room()) == (1, 1)
    job, busy = bench.begins()
    assert busy is child
    assert [type(one) for one in bench.process(child).sent] == [Run]
    assert bench.at(At.STARTING) == 2  # one more than what is busy
    bench.pool.received(child, Done(Success(b"1")))
    assert bench.ends() == []  # its code may run on until the process has ended
    bench.dies(child)
    assert bench.ends() == [End(job, Success(b"1"), began=True, code=0)]
    assert bench.process(child).reaped
    assert child not in bench.pool.children


def test_never_more_children_than_allowed() -> None:
    bench = Bench(most=4)
    for n in range(4):
        bench.ready()
        bench.begins(str(n))
    assert len(bench.pool.children) == 5  # 4 and a quarter ahead
    bench.later(1.0)
    assert len(bench.made) == 5


def test_a_child_is_used_again_if_it_may_be() -> None:
    bench = Bench(per_child=2)
    [child] = bench.ready()
    job, _ = bench.begins("a")
    bench.pool.received(child, Done(Success(b"1")))
    assert bench.ends() == [End(job, Success(b"1"), began=True)]
    assert (child.at, bench.room()) == (At.IDLE, 2)
    _, again = bench.begins("b")
    assert again is child
    bench.pool.received(child, Done(Success(b"2")))
    assert child.at is At.LEAVING


@pytest.mark.parametrize("why", [Told.TIMEOUT, Told.CANCEL, Told.LOST, Told.STOP])
def test_a_job_that_is_told_is_killed_and_reported_when_nothing_of_it_is_left(why: Told) -> None:
    bench = Bench()
    [child] = bench.ready()
    job, _ = bench.begins()
    bench.pool.kill(job, why)
    assert (bench.process(child).killed, bench.ends()) == (1, [])
    bench.process(child).left = 2  # what it had started takes two looks to end
    bench.dies(child, -9)
    assert (bench.ends(), bench.process(child).reaped) == ([], False)
    assert bench.later(0.01) == pytest.approx(pools.LOOK)
    assert bench.ends() == []
    bench.later(0.01)
    assert bench.ends() == [End(job, None, why, began=True, code=-9)]


def test_what_will_not_end_is_not_waited_for_for_ever() -> None:
    bench = Bench()
    bench.ready()
    job, child = bench.begins()
    bench.pool.kill(job, Told.CANCEL)
    bench.process(child).left = 10_000
    bench.dies(child, -9)
    bench.later(pools.SWEEP)
    assert [end.why for end in bench.ends()] == [Told.CANCEL]


def test_a_child_that_has_done_its_task_is_not_killed_for_it() -> None:
    bench = Bench()
    bench.ready()
    job, child = bench.begins()
    bench.pool.received(child, Done(Success(b"1")))
    bench.pool.kill(job, Told.TIMEOUT)
    assert bench.process(child).killed == 0
    bench.dies(child)
    assert bench.ends()[0].why is Told.NOTHING


def test_a_child_that_does_not_leave_is_killed_and_its_outcome_stands() -> None:
    bench = Bench()
    bench.ready()
    job, child = bench.begins()
    bench.pool.received(child, Done(Success(b"1")))
    assert bench.later(0.5) == pytest.approx(pools.LEAVE - 0.5)
    bench.later(pools.LEAVE)
    assert bench.process(child).killed == 1
    bench.dies(child, -9)
    assert bench.ends() == [End(job, Success(b"1"), began=True, code=-9)]


def test_a_child_that_dies_by_itself_is_told_with_its_code() -> None:
    bench = Bench()
    bench.ready()
    job, child = bench.begins()
    bench.pool.hung_up(child)
    bench.dies(child, -11)
    assert bench.ends() == [End(job, began=True, code=-11)]


def test_a_child_that_closes_its_wire_and_lives_is_killed() -> None:
    bench = Bench()
    bench.ready()
    _, child = bench.begins()
    bench.pool.hung_up(child)
    bench.later(pools.HUNG_UP / 2)
    assert bench.process(child).killed == 0
    bench.later(pools.HUNG_UP)
    assert bench.process(child).killed == 1
    bench.dies(child, -9)
    assert bench.ends()[0].fault == "has closed its pipe to the worker"


@pytest.mark.parametrize("message", [Ready(VERSION), Done(Success()), Unfit("x")], ids=str)
def test_what_is_said_out_of_turn_ends_the_child(message: Any) -> None:
    bench = Bench()
    bench.ready()
    job = bench.start()
    [child] = [child for child in bench.made if child.job is job]
    bench.pool.received(child, message)
    assert bench.process(child).killed == 1
    assert "out of turn" in child.fault


def test_a_job_whose_idle_child_dies_goes_to_the_next() -> None:
    bench = Bench()
    [child] = bench.ready()
    bench.dies(child, -9)
    assert bench.room() == 0
    job = bench.start()
    assert bench.ends() == []
    bench.ready()
    assert [one.job for one in bench.made if one.at is At.BUSY] == [job]
    # As the handlers' side counts: told of two, it has started one; one was taken back.
    assert bench.room() == 1


def test_a_job_whose_lease_ran_out_while_it_waited_for_a_child_is_not_sent() -> None:
    bench = Bench()
    stale, fresh = bench.start("stale"), bench.start("fresh")
    bench.pool.good = lambda job: job is not stale
    [child] = bench.ready()
    assert bench.ends() == [End(stale, sent=False)]
    assert child.job is fresh
    assert [type(one) for one in bench.process(child).sent] == [Run]


def test_a_waiting_job_can_be_told_too() -> None:
    bench = Bench()
    job = bench.start()
    bench.pool.kill(job, Told.CANCEL)
    assert bench.ends() == [End(job, why=Told.CANCEL, sent=False)]


def test_an_unfit_app_hands_tasks_back_until_a_child_starts() -> None:
    bench = Bench()
    waiting = bench.start("waiting")
    child = bench.made[0]
    bench.pool.received(child, Unfit("cannot load app"))
    bench.dies(child, -9)
    assert Health("cannot load app") in bench.notes
    after = bench.start("after")
    assert bench.ends() == [
        End(waiting, sent=False, fault="cannot load app"),
        End(after, sent=False, fault="cannot load app"),
    ]
    bench.later(60.0)
    bench.ready()
    assert bench.notes[-2:] == [Health(""), Room(1)]


def test_children_that_cannot_start_are_tried_again_ever_more_seldom() -> None:
    bench = Bench()
    gaps: list[float] = []
    for _ in range(12):
        before, made = bench.now, len(bench.made)
        bench.dies(bench.made[-1], 3)
        while len(bench.made) == made:
            bench.later(0.05)
        gaps.append(bench.now - before)
    assert gaps[0] == pytest.approx(pools.FIRST_WAIT, abs=0.1)
    assert gaps[5] > 2 * gaps[3]
    assert gaps[-1] == pytest.approx(pools.LONGEST_WAIT, abs=0.1)
    assert Health("exited with code 3") in bench.notes


def test_a_system_without_room_for_processes_is_no_end() -> None:
    bench = Bench()
    bench.ready()
    bench.refuse = "Resource temporarily unavailable"
    _, child = bench.begins()
    for _ in range(4):
        bench.later(1.0)
    assert not bench.pool.fault  # there is one that works
    bench.dies(child)
    bench.later(pools.LONGEST_WAIT)
    assert any(isinstance(note, Health) and bench.refuse in note.fault for note in bench.notes)
    bench.refuse = ""
    bench.later(60.0)
    assert bench.at(At.STARTING) > 0


def test_a_child_that_takes_too_long_to_start_is_killed() -> None:
    bench = Bench()
    child = bench.made[0]
    bench.later(pools.START)
    assert bench.process(child).killed == 1
    bench.dies(child, -9)
    assert any(isinstance(note, Health) and "did not load" in note.fault for note in bench.notes)


def test_children_that_nothing_needs_are_let_go() -> None:
    bench = Bench(most=4)
    bench.ready()
    children = [bench.begins("a")[1]]
    bench.ready(2)
    assert bench.at(At.IDLE) == 2
    bench.pool.received(children[0], Done(Success()))
    bench.dies(children[0])
    bench.later(pools.RETIRE)
    left = [one for one in bench.made if one.at is At.LEAVING]
    assert len(left) == 1
    assert isinstance(bench.process(left[0]).sent[-1], Leave)
    assert (bench.at(At.IDLE), bench.at(At.STARTING)) == (1, 0)


def test_progress_of_a_job_that_was_told_is_dropped() -> None:
    bench = Bench()
    bench.ready()
    job, child = bench.begins()
    bench.pool.received(child, Reported(Progress(1.0)))
    bench.pool.kill(job, Told.CANCEL)
    bench.pool.received(child, Reported(Progress(2.0)))
    assert [one.percent for one in bench.progress] == [1.0]


def test_closing_ends_all_of_them() -> None:
    bench = Bench()
    bench.ready()
    job, busy = bench.begins()
    [idle] = bench.ready()
    bench.pool.close()
    assert bench.process(busy).killed == 1
    assert isinstance(bench.process(idle).sent[-1], Leave)
    late = bench.start("late")
    for child in list(bench.pool.children):
        bench.dies(child, -9)
    assert {(end.job, end.why, end.sent) for end in bench.ends()} == {
        (job, Told.STOP, True),
        (late, Told.NOTHING, False),
    }
    assert not bench.pool.children
