"""Reads tasks: what lies at ``t:<id>`` becomes a :class:`~xqueue_core.views.TaskInfo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from xqueue_core.errors import InvalidTask
from xqueue_core.infos import read_progress, shown, shown_quarantined
from xqueue_core.task import Event, Record
from xqueue_core.views import TaskInfo
from xqueue_redis import rows

if TYPE_CHECKING:
    from xqueue_redis.connection import Link

#: Tasks asked for in one call, and bytes in one answer after which the next call goes on.
TASKS, BYTES = 500, 4_000_000


class Found(NamedTuple):
    """A task as it is shown. ``record`` is None where it cannot be decoded.

    ``aside``: it was put in quarantine; else one that cannot be decoded lies where it lay.
    ``entry`` is where it lies in the stream of its level, "" if it does not.
    """

    info: TaskInfo
    record: Record | None = None
    aside: bool = False
    entry: str = ""


class _Aside(msgspec.Struct, array_like=True):
    """What the scripts note of a task in quarantine (``lua/lib/aside.lua``)."""

    lane: str
    field: str
    why: str


_decode_aside = msgspec.msgpack.Decoder(_Aside).decode
_decode_lengths = msgspec.msgpack.Decoder(list[int]).decode
_decode_event = msgspec.msgpack.Decoder(Event).decode
#: What decoders raise.
DAMAGED = (msgspec.MsgspecError, UnicodeDecodeError)


async def read_tasks(
    link: Link, ids: Sequence[str], *, whole: bool
) -> tuple[list[Found | None], float]:
    """Each task, None where it is unknown or expunged, and the broker's clock (UTC seconds).

    Without ``whole`` results and progress are left out. Raises BrokerError.
    """
    width = 6 if whole else 4
    found: list[Found | None] = []
    now = 0.0
    while len(found) < len(ids):
        part = ids[len(found) : len(found) + TASKS]
        clock, *framed = await link.run("view/find", BYTES, int(whole), *part)
        now = float(clock)
        values = unframed(*framed)
        found += [
            _found(id, values[n : n + width])
            for id, n in zip(part, range(0, len(values), width), strict=False)
        ]
    await _locate(link, [one for one in found if one and not one.record and not one.aside])
    return found, now


async def _locate(link: Link, damaged: Sequence[Found]) -> None:
    """Fill in what their places tell of tasks that cannot be decoded."""
    for n in range(0, len(damaged), TASKS):
        part = damaged[n : n + TASKS]
        told = await link.run("view/where", *(one.info.id for one in part))
        for one, lane, field in zip(part, told[::2], told[1::2], strict=True):
            info = one.info
            place = shown_quarantined(info.id, text(lane), text(field), info.reason)
            info.lane, info.state = place.lane, place.state


def _found(id: str, values: Sequence[bytes | None]) -> Found | None:
    row, envelope, failure, aside, *more = values
    if aside is not None:
        return Found(_set_aside(id, aside), aside=True)
    if row is None:
        return None
    try:
        return _decoded(row, envelope, failure, *more)
    except (*DAMAGED, InvalidTask) as error:
        return Found(shown_quarantined(id, "", "", str(error)))


def _decoded(
    row: bytes,
    envelope: bytes | None,
    failure: bytes | None,
    result: bytes | None = None,
    progress: bytes | None = None,
) -> Found:
    if not row:
        raise InvalidTask("what is stored under its id is no task")
    if envelope is None:
        raise InvalidTask("its envelope is missing")
    known = rows.read(row)
    record = known.record(envelope, result, failure)
    info = shown(record)
    if progress is not None:
        event = latest_event(progress)
        # Progress of an earlier delivery says nothing about the present one.
        if event is not None and event.delivery >= info.delivery:
            info.progress = read_progress(event)
    return Found(info, record, entry=known.entry)


def _set_aside(id: str, packed: bytes) -> TaskInfo:
    try:
        aside = _decode_aside(packed)
        return shown_quarantined(id, aside.lane, aside.field, aside.why)
    except (*DAMAGED, ValueError):
        return shown_quarantined(id, id.partition(":")[0], "", "the note of its damage is damaged")


def latest_event(field: bytes) -> Event | None:
    """The event in ``<delivery>:<event>``, a task's latest progress; None if it is damaged."""
    try:
        return _decode_event(field.partition(b":")[2])
    except DAMAGED:
        return None


def unframed(lengths: bytes, joined: bytes) -> list[Any]:
    """The values of which ``framed()`` of ``lua/lib/looking.lua`` made these: bytes, or None."""
    values: list[bytes | None] = []
    at = 0
    for length in _decode_lengths(lengths):
        if length < 0:
            values.append(None)
        else:
            values.append(joined[at : at + length])
            at += length
    return values


def text(name: bytes) -> str:
    """A name as people read it, also one that another client has made."""
    return name.decode(errors="replace")
