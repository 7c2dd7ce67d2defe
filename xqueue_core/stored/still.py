"""Waits that stood still while their lane was paused, looked at again when it goes on (P2.2).

The end of such a wait recedes during the pause, so its alarm is put off ever further, and a row
of the lane notes that there is one. Resuming the lane arms that row: whoever serves its alarm goes
through the lane's waiting tasks, page by page, and puts each alarm where it belongs. An alarm that
is missed on the way goes off by itself, within ``LONGEST``.
"""

from __future__ import annotations

import msgspec

from xqueue_core.commands import Expire
from xqueue_core.stored import layout
from xqueue_core.stored.layout import LaneRow
from xqueue_core.stored.records import ANY, Change, Now, Records, Row, Scan
from xqueue_core.task import Record, State

#: Shortest and longest time until a wait that stands still is looked at again (seconds).
SHORTEST, LONGEST = 1.0, 60.0
#: Tasks that are looked at in one go.
PAGE = 500

KIND = "still/"


class Place(msgspec.Struct, array_like=True):
    """How far the look through a lane has come."""

    bucket: str = ""
    order: int = -1
    key: str = ""


layout.readable(Place)


def put_off(record: Record, alarm: float, at: float, lane: LaneRow) -> float:
    """The alarm of a wait in a paused lane: looked at again ever more seldom."""
    still = max(SHORTEST, min(LONGEST, (at - lane.paused_since) / 2))
    due = record.due_at if record.state is State.SCHEDULED else at + still
    return max(alarm, min(due, at + still))


def noted(lane: str) -> Change:
    """That a wait of this lane has been put off."""
    return Change(KIND + lane, ANY, layout.pack(Place()))


def woken(lane: str, at: float) -> Change:
    """That the lane goes on; for a lane with a note."""
    return Change(KIND + lane, ANY, layout.pack(Place()), alarm=at)


async def page(records: Records, row: Row, now: Now) -> tuple[list[Row], Change]:
    """The next tasks of a woken lane to look at, and how far that is."""
    lane = row.key.removeprefix(KIND)
    place = layout.unpack(row, Place) or Place()
    bucket = place.bucket or layout.ready(lane)
    [rows] = await records.scan([Scan(bucket, PAGE, (place.order, place.key))])
    if len(rows) == PAGE:
        further = Place(bucket, rows[-1].order, rows[-1].key)
    else:
        further = Place(await _behind(records, lane, bucket))
    if not further.bucket:
        return list(rows), Change(row.key, row.version, None)
    return list(rows), Change(row.key, row.version, layout.pack(further), alarm=now.wall)


async def _behind(records: Records, lane: str, bucket: str) -> str:
    """The bucket after this one: the ready, the scheduled, then line by line; "" at the end."""
    if bucket == layout.ready(lane):
        return layout.later(lane)
    prefix = f"k/{lane}/"
    last = "" if bucket == layout.later(lane) else "k" + bucket.removeprefix("line")
    found = await records.counts(prefix, last, 1)
    return layout.line(lane, found[0][0].removeprefix(prefix)) if found else ""


#: What is asked of each task on a page; one that is early gets its alarm anew.
LOOK = Expire()
