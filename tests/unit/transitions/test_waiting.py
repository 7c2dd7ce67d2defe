"""``queue_timeout``, tokens, replays and duplicates, one rule at a time."""

from __future__ import annotations

import pytest

from support.situations import COMMANDS, NOW, OUTCOMES, SITUATIONS, a_task
from xqueue_core.calls import Edit, Replay, Reschedule, Settle
from xqueue_core.commands import Accept, Command, Expire, Lease, Lose, MarkDuplicate, Promote, Said
from xqueue_core.envelope import decode_task, encode_task
from xqueue_core.task import Record, State, Task
from xqueue_core.transitions import apply, expires_at


def waiting(**changes: object) -> Record:
    """A task accepted at NOW, that waits for 100 s at most; its lane was paused for 40 s."""
    record = apply(None, Accept(encode_task(a_task(**changes))), NOW, 40.0).record
    assert record is not None
    return record


def after(record: Record, *steps: tuple[Command, float, float]) -> Record:
    for command, later, paused in steps:
        made = apply(record, command, NOW + later, paused).record
        assert made is not None
        record = made
    return record


def settle(record: Record, outcome: str) -> Settle:
    return Settle("type:1", record.delivery, OUTCOMES[outcome])


def timeout_of(record: Record, paused: float) -> float | None:
    """Seconds from NOW at which the wait ends."""
    deadline = expires_at(decode_task(record.raw), record, paused)
    return None if deadline is None else deadline - NOW


def test_a_pause_before_the_wait_does_not_count() -> None:
    assert timeout_of(waiting(), 40.0) == 100.0


def test_a_pause_during_the_wait_prolongs_it() -> None:
    record = waiting()
    assert timeout_of(record, 70.0) == 130.0
    assert apply(record, Expire(), NOW + 129.9, 70.0).verdict is Said.EARLY
    assert apply(record, Lease("worker", 1), NOW + 129.9, 70.0).verdict is Said.APPLIED
    assert apply(record, Lease("worker", 1), NOW + 130.0, 70.0).verdict is Said.EXPIRED
    ended = after(record, (Expire(), 130.0, 70.0))
    assert (ended.state, ended.reason) == (State.TIMEOUT, "queue_timeout")


def test_the_wait_of_a_delayed_task_begins_when_it_is_due() -> None:
    record = waiting(delay=50.0)
    assert timeout_of(record, 40.0) == 150.0
    # What the lane was paused until then does not count, what comes later does.
    record = after(record, (Promote(), 50.0, 60.0))
    assert timeout_of(record, 60.0) == 150.0
    assert timeout_of(record, 65.0) == 155.0


@pytest.mark.parametrize("outcome", ["HandBack", "HandBack (ran)", "Parked"])
def test_a_hand_back_does_not_restart_the_wait(outcome: str) -> None:
    leased = after(waiting(), (Lease("worker", 1), 10.0, 40.0))
    assert timeout_of(leased, 40.0) is None
    record = after(leased, (settle(leased, outcome), 20.0, 45.0))
    assert timeout_of(record, 45.0) == 105.0


def test_a_loss_does_not_restart_the_wait() -> None:
    leased = after(waiting(), (Lease("worker", 1), 10.0, 40.0))
    record = after(leased, (Lose(leased.delivery), 20.0, 45.0))
    assert timeout_of(record, 45.0) == 105.0


def test_a_wait_for_an_able_worker_is_part_of_the_same_wait() -> None:
    leased = after(waiting(), (Lease("worker", 1), 10.0, 40.0))
    record = after(leased, (settle(leased, "HandBack (unable)"), 20.0, 45.0))
    assert record.state is State.SCHEDULED
    assert timeout_of(record, 45.0) == 105.0
    record = after(record, (Promote(), 21.0, 46.0))
    assert timeout_of(record, 47.0) == 107.0


def test_a_retry_restarts_the_wait() -> None:
    leased = after(waiting(), (Lease("worker", 1), 10.0, 40.0))
    record = after(leased, (settle(leased, "RetryAt"), 20.0, 45.0))
    assert timeout_of(record, 50.0) == 125.0
    record = after(record, (Promote(), 26.0, 50.0))
    assert timeout_of(record, 52.0) == 127.0


def test_a_replay_and_a_new_time_restart_the_wait() -> None:
    leased = after(waiting(), (Lease("worker", 1), 10.0, 40.0))
    ended = after(leased, (settle(leased, "Failed"), 20.0, 45.0))
    assert timeout_of(ended, 45.0) is None
    again = after(ended, (Replay("type:1", "r"), 500.0, 45.0))
    assert timeout_of(again, 46.0) == 601.0
    moved = after(again, (Reschedule("type:1", delay=30.0), 510.0, 46.0))
    assert timeout_of(moved, 50.0) == 640.0


def test_no_queue_timeout_is_no_deadline() -> None:
    assert timeout_of(waiting(queue_timeout=None), 40.0) is None


def test_a_token_is_above_the_last_one_and_at_least_the_floor() -> None:
    record = waiting()
    first = after(record, (Lease("worker", 1, floor=1000), 0.0, 40.0))
    assert first.delivery == 1000
    second = after(first, (Lose(1000), 1.0, 40.0), (Lease("worker", 2, floor=500), 1.0, 40.0))
    assert second.delivery == 1001


def test_a_replay_may_change_the_task() -> None:
    record = SITUATIONS["failed"]()
    edit = Edit(payload=b'{"n":2}', priority=7, max_retry=9, process_timeout=1.5)
    did = apply(record, Replay("type:1", "r", edit), NOW)
    assert did.record is not None
    task = decode_task(did.record.raw)
    assert (task.payload, task.priority, task.max_retry, task.process_timeout) == (
        b'{"n":2}',
        7,
        9,
        1.5,
    )
    assert task.queue_timeout == 100.0


def test_a_replay_keeps_what_a_newer_minor_version_wrote() -> None:
    newer = Task(id="type:1", lane="lane", minor=5, extra={"colour": "red"})
    record = apply(None, Accept(encode_task(newer)), NOW).record
    ended = apply(record, COMMANDS["Cancel"], NOW).record
    again = apply(ended, Replay("type:1", "r", Edit(priority=3)), NOW).record
    assert again is not None
    task = decode_task(again.raw)
    assert (task.priority, task.extra) == (3, {"colour": "red"})


def test_a_task_of_a_newer_major_version_is_replayed_but_not_edited() -> None:
    raw = encode_task(Task(id="type:1", lane="lane", major=9, payload=b"{}"))
    record = apply(None, Accept(raw), NOW).record
    ended = apply(record, COMMANDS["Cancel"], NOW).record
    refused = apply(ended, Replay("type:1", "r", Edit(priority=3)), NOW)
    assert refused.verdict is Said.UNSUPPORTED
    assert refused.record is ended
    again = apply(ended, Replay("type:1", "r"), NOW).record
    assert again is not None
    assert again.raw == raw


def test_a_duplicate_found_late_is_told_once() -> None:
    for name in ("processing", "told"):
        record = SITUATIONS[name]()
        assert record is not None
        did = apply(record, MarkDuplicate("type:2"), NOW)
        assert did.verdict is Said.REQUESTED
        assert len(did.events) == 1
        assert did.record is not None
        assert did.record.of == "type:2"
        assert did.record.cancel == (record.cancel or "duplicate")
        again = apply(did.record, MarkDuplicate("type:2"), NOW)
        assert again.record is did.record
        assert again.events == ()
