"""What a worker and its children say to each other."""

from __future__ import annotations

import struct

import pytest

from support.fake_queue import delivery
from xqueue_core.task import Failed, Failure, HandBack, Progress, RetryAt, Success
from xqueue_core.worker.isolation.wire import (
    LARGEST,
    Began,
    Done,
    Frames,
    FromChild,
    Message,
    Ready,
    Reported,
    Run,
    ToChild,
    Unfit,
    WireError,
    frame,
)

SAID: list[Message] = [
    Ready(1),
    Unfit("no such module"),
    Began(),
    Reported(Progress(50.0, 1, 2, "half")),
    Done(Success(b'{"a":1}')),
    Done(Failed(Failure("rejected", "Reject", "no", "..."))),
    Done(RetryAt(2.5, Failure("exception"))),
]


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_messages_come_whole_in_whatever_pieces(piece: int) -> None:
    data = b"".join(map(frame, SAID))
    frames: Frames[FromChild] = Frames(FromChild)
    heard: list[Message] = []
    for start in range(0, len(data), piece):
        heard.extend(frames.feed(data[start : start + piece]))
    assert heard == SAID


def test_a_delivery_crosses_as_it_is() -> None:
    one = delivery("a", payload=b"\0\xff", headers={"tenant": "t1"}, attempt=2, accepted_at=7.5)
    frames: Frames[ToChild] = Frames(ToChild)
    [run] = frames.feed(frame(Run(one, 1.5, 1 << 28)))
    assert run == Run(one, 1.5, 1 << 28)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", LARGEST + 1),
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        struct.pack(">I", 1) + b"\x00",
        frame(Run(delivery(), None, None)),  # what a worker says, not a child
    ],
    ids=["too long", "rubbish", "a number", "out of place"],
)
def test_anything_else_is_an_error(data: bytes) -> None:
    frames: Frames[FromChild] = Frames(FromChild)
    with pytest.raises(WireError):
        list(frames.feed(data))


def test_only_ends_that_a_child_may_decide_are_taken() -> None:
    frames: Frames[FromChild] = Frames(FromChild)
    with pytest.raises(WireError, match="cannot be read"):
        list(frames.feed(frame(Done(HandBack(ran=True)))))  # type: ignore[arg-type]


def test_nothing_too_large_is_sent() -> None:
    with pytest.raises(WireError, match="are allowed"):
        frame(Done(Success(bytes(LARGEST))))
