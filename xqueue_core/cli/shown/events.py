"""An event as commands show it."""

from __future__ import annotations

from typing import Any

from xqueue_core.abc import Notice
from xqueue_core.cli.shown.values import compact, iso
from xqueue_core.task import Event


def event_data(notice: Notice) -> dict[str, Any]:
    """The event as JSON types; where events are missing, ``gap`` alone is true."""
    event = notice.event
    if event is None:
        return {"cursor": notice.cursor, "gap": True}
    return {
        "cursor": notice.cursor,
        "gap": False,
        "id": event.id,
        "seq": event.seq,
        "name": event.name.value,
        "state": event.state.value,
        "at": iso(event.at),
        "lane": event.lane,
        "attempt": event.attempt,
        "delivery": event.delivery,
        "worker": event.worker or None,
        "reason": event.reason or None,
        "data": _details(event),
    }


def event_text(notice: Notice) -> str:
    """The event on one line: when, what, the state it led to, details, and the cursor."""
    event = notice.event
    if event is None:
        return f"{'-':<24}  events before this are gone  cursor={notice.cursor}"
    more = (
        f"attempt={event.attempt}" if event.attempt else "",
        f"worker={event.worker}" if event.worker else "",
        f"reason={event.reason}" if event.reason else "",
        f"data={compact(_details(event))}" if event.data else "",
        f"cursor={notice.cursor}",
    )
    tail = " ".join(part for part in more if part)
    return f"{iso(event.at) or '-':<24}  {event.name.value:<16}  {event.state.value:<10}  {tail}"


def _details(event: Event) -> dict[str, Any]:
    """What the event carries; of progress, its time as all times are shown."""
    at = event.data.get("at")
    return {**event.data, "at": iso(at)} if isinstance(at, int | float) else dict(event.data)
