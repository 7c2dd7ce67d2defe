"""The last step before the handlers."""

from __future__ import annotations

from typing import Any

from unit.worker.parts import make_job
from xqueue_core.permits import Permit
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.gate import LONGEST, SOON, Gate
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.job import Job, Recall, Stage
from xqueue_core.worker.tools import Term


class Gating:
    """A gate before four slots and two threads, and what came through."""

    def __init__(self) -> None:
        self.desk = Desk(4, 20, 2)
        self.now = 0.0
        self.elsewhere: list[Job] = []
        self.asked: list[Job] = []
        self.started: list[Job] = []
        self.gate = Gate(
            self.desk, lambda: self.now, lambda: self.elsewhere, self.asked.append, self._start
        )

    def _start(self, job: Job) -> None:
        job.stage = Stage.CROSSED
        self.started.append(job)

    def come(self, name: str, lane: str = "job", **fields: Any) -> Job:
        """A job comes."""
        job = make_job(name, lane, **fields)
        self.desk.take(job)
        self.gate.admit(job)
        return job

    def grant(self, job: Job) -> None:
        """Its key has a permit for it."""
        job.key_permit = Grip(Permit(job.id, "key"), "", Term(60.0), self.now, job)
        self._start(job)

    def end(self, job: Job) -> None:
        """It is not here any more."""
        self.desk.leave(job)
        self.gate.look()


def slow() -> Gating:
    """A gate with all slots taken, that has learned that they do not become free soon."""
    one = Gating()
    for n in range(4):
        one.come(f"long{n}").started = 1.0
    job = one.come("ahead", key="k")
    one.grant(job)
    one.now += LONGEST + 0.1
    assert one.gate.overdue() == [Recall("key", job=job)]
    one.end(job)
    one.asked.clear()
    return one


def test_keys_are_asked_ahead_of_the_slot() -> None:
    one = Gating()
    jobs = [one.come(str(n), key=str(n)) for n in range(8)]
    assert one.asked == jobs
    for job in jobs:
        one.grant(job)
    jobs[0].started = 1.0
    one.now += LONGEST - 0.1
    assert one.gate.overdue() == []


def test_where_slots_are_taken_for_long_a_keyed_job_waits_for_one_and_others_behind_it() -> None:
    one = slow()
    keyed, plain = one.come("keyed", key="k"), one.come("plain")
    one.now += 5.0
    assert one.asked == []
    assert plain not in one.started
    one.end(one.started[0])
    assert one.asked == [keyed]
    assert plain in one.started, "it is next in the handlers' own line"


def test_where_a_slot_becomes_free_soon_keys_are_asked_ahead_again() -> None:
    one = slow()
    jobs = [one.come(str(n), key=str(n)) for n in range(3)]
    one.now += SOON / 2
    one.end(one.started[0])
    assert one.asked == jobs
    assert not one.gate.slow


def test_what_waits_for_a_thread_keeps_no_coroutine_back() -> None:
    one = Gating()
    for n in range(2):
        one.come(f"long{n}", "plain").started = 1.0
    one.grant(one.come("ahead", "plain", key="k"))
    one.now += LONGEST + 0.1
    assert one.gate.overdue()
    one.asked.clear()
    one.come("thread", "plain", key="k")
    coroutine = one.come("coroutine", key="c")
    assert one.asked == [coroutine]


def test_one_that_waits_can_be_withdrawn_and_lets_those_behind_it_pass() -> None:
    one = slow()
    keyed, plain = one.come("keyed", key="k"), one.come("plain")
    assert keyed.stage is Stage.ASKING
    assert one.gate.withdraw(keyed)
    assert not one.gate.withdraw(keyed)
    one.end(keyed)
    assert plain in one.started
    assert one.asked == []
