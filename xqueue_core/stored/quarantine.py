"""Rows of tasks that cannot be decoded: set aside, so that everything else goes on.

They stay counted where they were, because the task was accepted and has not ended, until an
operator purges them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from xqueue_core.stored import layout
from xqueue_core.stored.layout import Quarantined, Tombstone, Unique
from xqueue_core.stored.records import Change, Group, Row
from xqueue_core.task import Event, EventName, State

_encode_event = msgspec.msgpack.Encoder().encode


def set_aside(id: str, row: Row, why: str, at: float, lanes: Mapping[str, str]) -> Group:
    """Put an undecodable row in quarantine. ``lanes`` are those of types that are declared."""
    field = layout.gauge(row.bucket)
    kind, _, rest = row.bucket.partition("/")
    type_ = id.partition(":")[0]
    lane = lanes.get(type_, type_) if stray_type(id, row) else rest.partition("/")[0]
    body = layout.pack_task(Quarantined(lane, field, why, row.body))
    event = Event(id, 0, EventName.QUARANTINED, State.PENDING, at, lane, reason=why)
    counts = {f"c/{lane}/{type_}/quarantined": 1} if field else {}
    if kind == "line":
        counts[f"k/{lane}/{rest.partition('/')[2]}"] = -1
        counts[f"c/{lane}/{type_}/parked"] = -1
    if kind == "held":
        counts[layout.holding(rest)] = -1
    change = Change(row.key, row.version, body, layout.QUARANTINE, int(at * 1e6))
    return Group([change], [_encode_event(event)], counts)


def forget(
    id: str, row: Row, body: Quarantined, unique: Row | None, stone: Tombstone | None
) -> Group:
    """Remove a quarantined row, but for this; the ledger shows it as canceled.

    Frees its unique key.
    """
    prefix = f"c/{body.lane}/{id.partition(':')[0]}/"
    counts = {prefix + body.field: -1, prefix + "quarantined": -1, prefix + "canceled": 1}
    changes = [Change(row.key, row.version, None)]
    if stone is not None:
        left = layout.pack_task(stone)
        changes = [Change(row.key, row.version, left, alarm=stone.until)]
    holder = layout.unpack(unique, Unique)
    if unique is not None and holder is not None and holder.of == id and holder.until is None:
        changes.append(Change(unique.key, unique.version, None))
    return Group(changes, (), counts if body.field else {})


def stray_type(id: str, row: Row) -> str:
    """The task's type if its row does not lie in a lane, so that only the type may tell it."""
    lies_in_lane = row.bucket.startswith(("ready/", "later/", "line/", "done/"))
    return "" if lies_in_lane else id.partition(":")[0]


def key_of(id: str) -> str:
    """Key of the unique key's row that an id tells of, "" if it has none."""
    type_, _, token = id.partition(":")
    hashed, tilde, _ = token.partition("~")
    return f"u/{type_}/{hashed[1:]}" if tilde and hashed.startswith("k") else ""
