"""What a worker and its child processes say to each other, and how it lies on the wire.

A frame is its length as four bytes, big end first, then that many bytes of MessagePack. Both
sides know every message's type, so nothing is imported or rebuilt from what was sent. What comes
from a child is checked like any other input, for the user's code could have written it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from xqueue_core.calls import Delivery
from xqueue_core.task import Failed, Progress, RetryAt, Success

#: Both sides run the same installation; this is for the day when somebody mixes two.
VERSION = 1
#: Largest frame (bytes). Payloads and results have at most 512 KiB each.
LARGEST = 4 * 1024 * 1024
#: Longest text that says why a child is of no use (characters).
LONGEST_TEXT = 8 * 1024

_HEAD = struct.Struct(">I")

M = TypeVar("M")


class WireError(Exception):
    """The other side does not keep to the protocol."""


class Message(msgspec.Struct, array_like=True, tag=True):
    """What one frame holds."""


class Setup(Message, tag="setup"):
    """To a child, first: which app it serves, and how."""

    version: int
    app: str  # as the command line has it: "module:attr" or "/path/file.py:attr"
    modules: list[str]  # imported after it: they declare some of the types
    types: list[str]  # the app must have them, isolated
    argv: list[str]
    worker: str
    flags: dict[str, Any]  # of the command line: they stand above the app's settings
    logging: str | None  # level, if the command line has configured logging
    tasks: int  # after so many it ends
    largest: int  # bytes of a result


class Run(Message, tag="run"):
    """To a child: a task, which it has to itself."""

    delivery: Delivery
    left: float | None  # seconds until its time-out
    memory: int | None  # bytes it may allocate
    carried: dict[str, str] = {}  # what plugins here have for themselves there


class Leave(Message, tag="leave"):
    """To an idle child: end."""


class Ready(Message, tag="ready"):
    """From a child: the app is loaded."""

    version: int


class Unfit(Message, tag="unfit"):
    """From a child: the app cannot be loaded, or is not the one that was meant."""

    why: str


class Began(Message, tag="began"):
    """From a child: from here on the task's code may have run."""


class Reported(Message, tag="reported"):
    """From a child: progress."""

    progress: Progress


class Returned(Message, tag="returned"):
    """From a child that has plugins to leave, or something to close: how the task ended; ``Done``
    follows."""

    outcome: Success | Failed | RetryAt


class Done(Message, tag="done"):
    """From a child: how the task ended, and that nothing of it is left to be done."""

    outcome: Success | Failed | RetryAt


ToChild = Setup | Run | Leave
FromChild = Ready | Unfit | Began | Reported | Returned | Done

_encoder = msgspec.msgpack.Encoder()


def frame(message: Message) -> bytes:
    """A message as a frame. Raises WireError if it is too large."""
    body = _encoder.encode(message)
    if len(body) > LARGEST:
        raise WireError(f"a message has {len(body)} bytes, and {LARGEST} are allowed")
    return _HEAD.pack(len(body)) + body


class Frames(Generic[M]):
    """Makes messages of the bytes as they come, in whatever pieces."""

    def __init__(self, kind: Any) -> None:
        """``kind`` is the type of what may come: :data:`ToChild` or :data:`FromChild`."""
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[M]:
        """The messages that are complete now. Raises WireError on anything else."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEAD.size:
            [length] = _HEAD.unpack_from(buffer)
            if length > LARGEST:
                raise WireError(f"a frame of {length} bytes is announced, {LARGEST} are allowed")
            end = _HEAD.size + length
            if len(buffer) < end:
                return
            body = bytes(buffer[_HEAD.size : end])
            del buffer[:end]
            try:
                message = self._decoder.decode(body)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise WireError(f"a message cannot be read: {error}") from error
            yield message
