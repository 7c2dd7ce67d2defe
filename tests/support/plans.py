"""Random sequences of commands: what is to happen, decided before anything does."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from xqueue_core.task import (
    AnyOutcome,
    Canceled,
    Failed,
    Failure,
    HandBack,
    Parked,
    RetryAt,
    State,
    Success,
    Task,
    TimedOut,
)

#: Fewest and most steps of a sequence.
SHORTEST, LONGEST = 5, 30
#: Workers that live at any time.
WORKERS = 3
#: The workers' lease and heartbeat.
LEASE, HEARTBEAT = 30.0, 6.0
#: Most seconds that the clock moves at once: so few heartbeats that nobody takes it for an outage
#: (two of them, less the half by which the mark may be behind).
STRIDE = 8.0

_WHY = Failure("exception", "ValueError", "no")
OUTCOMES: Sequence[AnyOutcome] = (
    Success(b"1"),
    Failed(_WHY),
    RetryAt(0.0, _WHY),
    RetryAt(3.0, _WHY),
    RetryAt(8.0, _WHY, timed_out=True),
    TimedOut(_WHY),
    HandBack(reason="grace"),
    HandBack(ran=True, reason="grace"),
    HandBack(unable="type"),
    Parked(),
    Canceled("handler"),
)

_WEIGHTS = {
    "next": 50,  # what brings the task on: lease, settle, replay, ...
    "put": 3,
    "lease": 8,
    "settle": 10,
    "drop": 2,  # the worker's next heartbeat does not name the delivery
    "misname": 1,  # it names an earlier one instead
    "cancel": 2,
    "cancel again": 2,  # with the request of the last cancel or purge
    "replay": 4,
    "replay again": 2,  # with the request of the last replay
    "purge": 2,
    "purge again": 2,
    "reschedule": 3,
    "unpark": 5,
    "pause": 1,
    "resume": 2,
    "nothing": 3,
}


class Op(NamedTuple):
    """One step of a sequence."""

    name: str
    worker: int = 0  # lease: which of those that live
    token: str = "current"  # settle: "current", "old" or "never"
    outcome: AnyOutcome = OUTCOMES[0]
    delay: float = 0.0  # replay, reschedule

    def __str__(self) -> str:
        how = f" {self.token} token: {self.outcome}" if self.name in ("settle", "next") else ""
        return f"{self.name}{how} (worker {self.worker}, delay {self.delay})"


#: The step of a sequence that has ended.
NOTHING = Op("nothing")

#: What "next" means in each state; in a line it means "unpark".
NEXT = {
    None: "put",
    State.SCHEDULED: "reschedule",
    State.PENDING: "lease",
    State.PROCESSING: "settle",
    State.SUCCESS: "replay",
    State.FAILED: "replay",
    State.CANCELED: "replay",
    State.TIMEOUT: "replay",
}


class Plan(NamedTuple):
    """A sequence of steps for one task in a lane of its own."""

    number: int
    task: Task
    ops: Sequence[Op]


class Tick(NamedTuple):
    """What happens to everybody at one step: time passes, a worker may die."""

    strides: Sequence[float]
    dies: int | None


def plan(seed: int, number: int) -> Plan:
    """The sequence of this number."""
    dice = Random(f"{seed}/{number}")
    task = Task(
        id=f"type:{number}",
        lane=f"lane{number}",
        priority=dice.randrange(10),
        max_retry=dice.choice([0, 1, 1, 2, 3]),
        queue_timeout=dice.choice([None, None, 8.0, 20.0, 60.0]),
        delay=dice.choice([0.0, 0.0, 0.0, 1.0, 6.5, 40.0]),
        key=dice.choice([None, "key"]),
        remember=dice.choice([True, False]),
        result_ttl=dice.choice([0.0, 10.0, 40.0, 500.0]),
        failure_ttl=dice.choice([0.0, 20.0, 80.0, 500.0]),
    )
    names = dice.choices(
        list(_WEIGHTS), list(_WEIGHTS.values()), k=dice.randint(SHORTEST, LONGEST) - 1
    )
    return Plan(number, task, [Op("put"), *(_op(dice, name) for name in names)])


def _op(dice: Random, name: str) -> Op:
    return Op(
        name,
        dice.randrange(WORKERS),
        dice.choices(["current", "old", "never"], [8, 2, 1])[0],
        dice.choice(OUTCOMES),
        dice.choice([0.0, 0.0, 1.0, 5.0, 30.0]),
    )


def ticks(seed: int, first: int) -> list[Tick]:
    """The course of time for the batch whose first sequence has this number."""
    dice = Random(f"{seed}/ticks/{first}")
    course = [_tick(dice) for _ in range(LONGEST)]
    # In every batch at least one worker dies while most sequences run, and its lease runs out.
    course[3] = Tick([1.0], dice.randrange(WORKERS))
    course[4] = Tick([STRIDE] * 6, None)
    return course


def _tick(dice: Random) -> Tick:
    dies = dice.randrange(WORKERS) if dice.random() < 0.1 else None
    if dice.random() < 0.9:
        return Tick([dice.choice([0.25, 0.5, 1.0, 2.0, 4.0])], dies)
    # Beyond most of what a task may wait, or is kept for.
    return Tick([STRIDE] * dice.choice([3, 6, 15]), dies)
