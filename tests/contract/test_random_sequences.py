"""Random sequences of commands end the same in the machine, on memory, SQLite and Redis.

Many more: ``make sequences COUNT=100000 KIND=redis7``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from support.modelled import Differs
from support.plans import LONGEST, SHORTEST, plan
from support.sequences import BATCH, run
from xqueue_core.calls import Cancel, Purge, Settle
from xqueue_core.commands import Command, Lose, Said, Step
from xqueue_core.stored import layout, tasks
from xqueue_core.task import EventName, HandBack, Record, State, Task
from xqueue_core.transitions import step as _step

pytestmark = pytest.mark.anyio

#: Batches of 500 sequences each.
SEEDS = range(10)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_queue_does_what_the_machine_says(seed: int) -> None:
    seen = await run(seed, BATCH)
    assert seen.keys() == set(EventName) - {EventName.QUARANTINED, EventName.PROGRESS}


async def test_the_scripts_of_redis_do_what_the_machine_says() -> None:
    seen = await run(20, 2 * BATCH, ["redis7"])
    assert seen.keys() == set(EventName) - {EventName.QUARANTINED, EventName.PROGRESS}


def test_the_sequences_of_a_seed_are_always_the_same() -> None:
    assert plan(3, 7) == plan(3, 7)
    assert plan(3, 7) != plan(4, 7)
    lengths = {len(plan(1, number).ops) for number in range(500)}
    assert (min(lengths), max(lengths)) == (SHORTEST, LONGEST)


# -- what a queue may do wrong is found ------------------------------------------------------------

_place = layout.place


def _charges_hand_backs(
    task: Task, record: Record, command: Command, at: float, paused: float
) -> Step:
    did = _step(task, record, command, at, paused)
    if isinstance(command, Settle) and isinstance(command.outcome, HandBack) and did.events:
        assert did.record is not None
        did.record.attempt = record.attempt
    return did


def _ignores_losses(task: Task, record: Record, command: Command, at: float, paused: float) -> Step:
    if isinstance(command, Lose):
        return Step(record, Said.LOST)
    return _step(task, record, command, at, paused)


def _charges_what_waited(
    task: Task, record: Record, command: Command, at: float, paused: float
) -> Step:
    if isinstance(command, Lose):
        command = Lose(command.token)
    return _step(task, record, command, at, paused)


def _forgets_wishes(task: Task, record: Record, command: Command, at: float, paused: float) -> Step:
    if isinstance(command, Cancel | Purge):
        command = replace(command, request="")
    return _step(task, record, command, at, paused)


def _forgets_alarms(
    task: Task, record: Record, at: float, paused: float
) -> tuple[str, int, float | None]:
    bucket, order, alarm = _place(task, record, at, paused)
    return bucket, order, None if record.state is State.SCHEDULED and record.unable else alarm


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (tasks, "step", _charges_hand_backs),
        (tasks, "step", _ignores_losses),
        (tasks, "step", _charges_what_waited),
        (tasks, "step", _forgets_wishes),
        (tasks, "remembered", lambda record, command: ("", False)),
        (layout, "place", _forgets_alarms),
    ],
)
async def test_a_planted_fault_is_found_and_found_again(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, wrong: Callable[..., object]
) -> None:
    monkeypatch.setattr(where, name, wrong)
    with pytest.raises(Differs) as found:
        await run(1, BATCH, ["memory"])
    text = str(found.value)
    number, step = re.findall(r"^sequence (\d+), step (\d+):", text)[0]
    assert f"python -m support.sequences --seed 1 --only {number}" in text
    with pytest.raises(Differs, match=f"^sequence {number}, step {step}:"):
        await run(1, BATCH, ["memory"], only=int(number))
