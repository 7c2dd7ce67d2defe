"""The wire form of a task's envelope: MessagePack, one map, versioned.

A higher minor version only adds fields. They are kept in ``Task.extra`` and written again, so an
old process loses nothing that a newer one wrote. Of a higher major only the few fields that
route a task are read; the rest stays in the bytes for a process that knows it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from xqueue_core.errors import InvalidTask
from xqueue_core.task import MAJOR, MINOR, Task

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Task).decode
_fields = frozenset(Task.__struct_fields__)


class _Head(msgspec.Struct):
    """What every major version has: enough to route a task and to hand it back."""

    id: str
    lane: str
    priority: int = 0
    major: int = MAJOR
    minor: int = MINOR


_decode_head = msgspec.msgpack.Decoder(_Head).decode


def encode_task(task: Task) -> bytes:
    """The envelope's bytes."""
    if not task.extra:
        return _encode(task)
    known: dict[str, Any] = msgspec.to_builtins(task, builtin_types=(bytes,))
    extra = known.pop("extra")
    # Known fields win: an unknown one can only be a field this version does not have.
    return _encode({**extra, **known, "minor": max(task.minor, MINOR + 1)})


def decode_task(raw: bytes) -> Task:
    """The task that was encoded. Raises InvalidTask if the bytes are no envelope.

    Of a newer major version the answer holds the head only, and is not ``readable``.
    """
    try:
        task = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _newer_major(raw, error)
    if task.major > MAJOR:
        return _newer_major(raw, None)
    if task.minor > MINOR:
        fields = msgspec.msgpack.decode(raw)
        task.extra = {name: fields[name] for name in fields if name not in _fields}
    return task


def _newer_major(raw: bytes, error: Exception | None) -> Task:
    try:
        head = _decode_head(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as worse:
        raise InvalidTask(f"a task's envelope cannot be decoded: {worse}") from worse
    if head.major <= MAJOR:
        raise InvalidTask(f"a task's envelope cannot be decoded: {error}") from error
    return Task(
        id=head.id, lane=head.lane, priority=head.priority, major=head.major, minor=head.minor
    )
