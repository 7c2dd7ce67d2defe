"""What holds for the state machine whatever happens, in whatever order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from support.situations import COMMANDS, NOW, OUTCOMES, a_task
from xqueue_core.calls import Purge, Replay, Settle
from xqueue_core.commands import Accept, Command, Expunge, Lose, Step
from xqueue_core.envelope import encode_task
from xqueue_core.task import FINAL, HISTORY_KEPT, MAX_LOSSES, SETTLED_KEPT, Record, State, Task
from xqueue_core.transitions import apply

TASKS = st.builds(
    a_task,
    max_retry=st.integers(0, 3),
    queue_timeout=st.none() | st.floats(0.0, 20.0),
    delay=st.sampled_from([0.0, 3.0]),
    result_ttl=st.just(5.0),
)

#: A command by its name, or an outcome or loss for a token given as a distance from the latest.
WISHES = st.sampled_from(list(COMMANDS)) | st.tuples(
    st.sampled_from([*OUTCOMES, "lost", "waited"]), st.sampled_from([0, 0, 0, -1, -2, 1])
)
#: The wish, how far the clock has moved, and whether the lane was paused meanwhile.
STEPS = st.tuples(WISHES, st.sampled_from([0.0, 0.5, 1.0, 7.0]), st.booleans())


class Taken(NamedTuple):
    """One step of a run."""

    task: Task
    before: Record | None
    command: Command
    at: float
    did: Step


def run(task: Task, steps: list[tuple[str | tuple[str, int], float, bool]]) -> Iterator[Taken]:
    at, paused = NOW, 0.0
    record = apply(None, Accept(encode_task(task)), at).record
    for wish, later, stood in steps:
        at += later
        paused += later if stood else 0.0
        command = _command(wish, record)
        kept = msgspec.msgpack.encode(record)
        did = apply(record, command, at, paused)
        assert msgspec.msgpack.encode(record) == kept
        yield Taken(task, record, command, at, did)
        record = did.record


def _command(wish: str | tuple[str, int], record: Record | None) -> Command:
    if isinstance(wish, str):
        return COMMANDS[wish]
    name, distance = wish
    token = (record.delivery if record else 0) + distance
    if name in ("lost", "waited"):
        return Lose(token, name == "waited")
    return Settle("type:1", token, OUTCOMES[name])


@settings(max_examples=500)
@given(TASKS, st.lists(STEPS, max_size=60))
def test_whatever_happens(
    task: Task, steps: list[tuple[str | tuple[str, int], float, bool]]
) -> None:
    for taken in run(task, steps):
        _check(taken)


def _check(taken: Taken) -> None:
    before, did = taken.before, taken.did
    after = did.record
    if after is before:
        assert did.events == ()
        return
    [event] = did.events
    assert event.seq == (before.seq if before else 0) + 1
    if before is not None and before.state in FINAL:
        assert isinstance(taken.command, Replay | Purge | Expunge)
    if after is None:
        assert before is not None
        assert before.state in FINAL
        return
    assert after.seq == event.seq
    assert 0 <= after.attempt <= taken.task.max_retry + 1
    assert 0 <= after.losses <= MAX_LOSSES
    assert len(after.settled) <= SETTLED_KEPT
    assert len(after.history) <= HISTORY_KEPT
    assert after.parked <= (after.state is State.PENDING)
    assert (after.state is State.SCHEDULED) <= (after.due_at > taken.at)
    assert bool(after.cancel) <= (after.state is State.PROCESSING or after.state in FINAL)
    if before is not None:
        _compare(taken, before, after)


def _compare(taken: Taken, before: Record, after: Record) -> None:
    assert after.delivery >= before.delivery
    if after.state is State.PROCESSING and before.state is not State.PROCESSING:
        assert after.delivery > before.delivery
        assert before.due_at <= taken.at
    if before.state is State.PROCESSING and before.cancel:
        success = isinstance(taken.command, Settle) and after.state is State.SUCCESS
        assert success or after.state in (State.PROCESSING, State.CANCELED)
    if isinstance(taken.command, Lose):
        assert after.losses == before.losses + (not taken.command.waited)
        assert (after.state is State.FAILED) == (after.losses == MAX_LOSSES and not before.cancel)


@given(st.integers(0, 3), st.lists(st.sampled_from(["HandBack", "HandBack (ran)", "Parked"])))
def test_a_hand_back_never_ends_a_task(max_retry: int, names: list[str]) -> None:
    record = apply(None, Accept(encode_task(a_task(max_retry=max_retry))), NOW).record
    for name in names:
        leased = apply(record, COMMANDS["Lease"], NOW).record
        assert leased is not None
        record = apply(leased, Settle("type:1", leased.delivery, OUTCOMES[name]), NOW).record
        assert record is not None
        assert record.state is State.PENDING
        assert record.attempt <= max_retry
        if record.parked:
            record = apply(record, COMMANDS["Leave"], NOW).record


@given(st.integers(0, 5))
def test_a_task_has_one_attempt_more_than_retries(max_retry: int) -> None:
    record = apply(None, Accept(encode_task(a_task(max_retry=max_retry))), NOW).record
    leases = 0
    while record is not None and record.state not in FINAL:
        leased = apply(record, COMMANDS["Lease"], NOW).record
        assert leased is not None
        leases += 1
        assert leased.attempt == leases
        outcome = OUTCOMES["RetryAt (now)"]
        record = apply(leased, Settle("type:1", leased.delivery, outcome), NOW).record
    assert leases == max_retry + 1
    assert record is not None
    assert record.state is State.FAILED


def test_a_worker_that_cannot_run_a_task_waits_longer_each_time() -> None:
    at = NOW
    record = apply(None, Accept(encode_task(a_task(queue_timeout=None))), at).record
    waits = []
    for _ in range(9):
        leased = apply(record, COMMANDS["Lease"], at).record
        assert leased is not None
        settle = Settle("type:1", leased.delivery, OUTCOMES["HandBack (unable)"])
        back = apply(leased, settle, at).record
        assert back is not None
        waits.append(back.due_at - at)
        at = back.due_at
        record = apply(back, COMMANDS["Promote"], at).record
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
