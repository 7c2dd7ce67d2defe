"""A task's row as the scripts keep it: ``lua/lib/row.lua`` names the same places, from 1."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec

from xqueue_core.task import Attempt, Failure, Record, State, Task

#: Whole numbers of a row: those that there are none of are 0.
Number = Annotated[int, msgspec.Meta(ge=0)]
Level = Annotated[int, msgspec.Meta(ge=0, le=9)]


class Row(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Everything that changes, and what scripts ask for of the envelope.

    Times that there is none of are -1.
    """

    state: State
    rank: Number
    accepted_at: float
    due_at: float
    wait_from: float
    wait_base: float
    seq: Number
    delivery: Number
    attempt: Number
    losses: Number
    worker: str
    call: Number
    leased_at: float
    parked: bool
    unable: Number
    cancel: str
    reason: str
    result_type: str
    finished_at: float
    of: str
    replays: Number
    replay_request: str
    settled: list[int]
    history: list[Attempt]
    wish: str
    wish_told: bool
    lane: str
    priority: Level
    max_retry: Number
    queue_timeout: float
    key: str
    keyed: bool
    unique_key: str
    remember: bool
    result_ttl: float
    failure_ttl: float
    readable: bool
    entry: str

    def record(
        self, envelope: bytes, result: bytes | None = None, failure: bytes | None = None
    ) -> Record:
        """The same as the state machine of the core has it. Raises MsgspecError."""
        fields = {name: getattr(self, name) for name in _SHARED}
        told = None if failure is None else _failure(failure)
        return Record(envelope, result=result, failure=told, **fields)


#: Fields that a row and a record share.
_SHARED = [name for name in Record.__struct_fields__ if name in Row.__struct_fields__]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Row).decode
_failure = msgspec.msgpack.Decoder(Failure).decode


#: What changes, before the task is accepted.
_BLANK = (
    *(State.PENDING, 0, 0, 0, 0, 0, 0, 0, 0, 0, "", 0, 0, False, 0, "", "", "", 0, "", 0, ""),
    *((), (), "", False),
)
#: How every fresh row begins: as an array of all its values, with those of them.
_BEGUN = b"\xdc\x00\x26" + b"".join(map(_encode, _BLANK))


def fresh(task: Task) -> bytes:
    """The row of a task that is about to be accepted, for a script to fill in."""
    timeout = -1.0 if task.queue_timeout is None else task.queue_timeout
    envelope = (
        task.lane,
        task.priority,
        task.max_retry,
        timeout,
        task.key or "",
        task.key is not None,
        task.unique_key or "",
        task.remember,
        _finite(task.result_ttl),
        _finite(task.failure_ttl),
        task.readable,
        "",
    )
    # Of the array's 12 values, without the byte that says how many there are.
    return _BEGUN + _encode(envelope)[1:]


def read(packed: bytes) -> Row:
    """The row in these bytes. Raises MsgspecError."""
    return _decode(packed)


def encode(value: Any) -> bytes:
    """A failure, or whatever else scripts hand on unread."""
    return _encode(value)


def _finite(seconds: float) -> float:
    return seconds if math.isfinite(seconds) else 1e12
