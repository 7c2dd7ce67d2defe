"""Events as they lie in the log: those of a batch share what is the same.

An entry is an array of groups, in the order in which their events happened. ``tell`` in
``lua/lib/base.lua`` writes the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from xqueue_core.task import Event, EventName, State
from xqueue_redis.reading import DAMAGED


class _Group(msgspec.Struct, array_like=True, omit_defaults=True):
    """Events that differ in nothing but ``told``: a task's id, the event's number, the next id."""

    name: EventName
    state: State
    at: float
    lane: str
    attempt: int
    delivery: int
    worker: str
    reason: str
    told: list[str | int]
    data: dict[str, Any] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode_all = msgspec.msgpack.Decoder(list[_Group]).decode
_decode_each = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_one = msgspec.msgpack.Decoder(_Group).decode


def packed(events: Sequence[Event]) -> bytes:
    """An entry of these events, each of them told whole."""
    return _encode([_group_of(event) for event in events])


def read(entry: bytes | None) -> list[Event | None]:
    """The events of an entry; None for each group that cannot be decoded, or for all of them."""
    if entry is None:
        return [None]
    try:
        return [event for group in _decode_all(entry) for event in _events_of(group)]
    except DAMAGED:
        pass
    try:
        each = _decode_each(entry)
    except DAMAGED:
        return [None]
    return [event for raw in each for event in _decoded(raw)]


def _group_of(event: Event) -> _Group:
    return _Group(
        event.name,
        event.state,
        event.at,
        event.lane,
        event.attempt,
        event.delivery,
        event.worker,
        event.reason,
        [event.id, event.seq],
        event.data,
    )


def _events_of(group: _Group) -> list[Event]:
    if len(group.told) % 2:
        raise msgspec.ValidationError("an id without a number")
    return [_event(group, *pair) for pair in zip(group.told[::2], group.told[1::2], strict=True)]


def _event(group: _Group, id: str | int, seq: str | int) -> Event:
    if not isinstance(id, str) or not isinstance(seq, int):
        raise msgspec.ValidationError(f"{id!r}, {seq!r}: not an id and a number")
    return Event(
        id,
        seq,
        group.name,
        group.state,
        group.at,
        group.lane,
        group.attempt,
        group.delivery,
        group.worker,
        group.reason,
        group.data,
    )


def _decoded(raw: msgspec.Raw) -> Sequence[Event | None]:
    try:
        return _events_of(_decode_one(raw))
    except DAMAGED:
        return [None]
