"""How outcomes are told to the script that records them."""

from __future__ import annotations

import msgspec

from xqueue_core.calls import Settle
from xqueue_core.task import (
    Canceled,
    Failed,
    Failure,
    HandBack,
    Parked,
    RetryAt,
    Success,
    TimedOut,
)

#: Bytes of id, token and kind, and of what the protocol says of each.
_BESIDE = 100

_encode = msgspec.msgpack.Encoder().encode

#: Id, token, kind, what that kind has, and bytes that nobody reads there.
Arguments = tuple[str, int, str, str | bytes, bytes]


def arguments(one: Settle) -> Arguments:
    """The arguments of ``settle.lua`` for one outcome."""
    outcome = one.outcome
    match outcome:
        case Success():
            return one.id, one.token, "success", outcome.content_type, outcome.result
        case Failed():
            return _failed(one, "failed", outcome.failure)
        case TimedOut():
            return _failed(one, "timeout", outcome.failure)
        case RetryAt():
            return _failed(one, "retry", outcome.failure, outcome.delay, outcome.timed_out)
        case HandBack():
            told = _encode((outcome.ran, outcome.reason, outcome.unable))
            return one.id, one.token, "handback", told, b""
        case Canceled():
            return one.id, one.token, "canceled", outcome.reason, b""
        case Parked():
            return one.id, one.token, "parked", b"", b""


def size(one: Arguments) -> int:
    """Bytes of these arguments, about."""
    return len(one[3]) + len(one[4]) + _BESIDE


def _failed(
    one: Settle, kind: str, failure: Failure, delay: float = 0.0, timed_out: bool = False
) -> Arguments:
    told = _encode((failure.reason, failure.brief, delay, timed_out))
    return one.id, one.token, kind, told, _encode(failure)
