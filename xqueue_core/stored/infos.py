"""Shows stored tasks to readers: a row becomes a :class:`~xqueue_core.views.TaskInfo`."""

from __future__ import annotations

from xqueue_core.errors import InvalidTask
from xqueue_core.infos import shown, shown_quarantined
from xqueue_core.stored import layout
from xqueue_core.stored.layout import Quarantined, Tombstone, Unreadable
from xqueue_core.stored.records import Row
from xqueue_core.task import Record
from xqueue_core.transitions import expires_at
from xqueue_core.views import TaskInfo

#: Kinds of buckets whose name goes on with the lane.
_OF_LANE = ("ready", "later", "line", "done")


def read_info(row: Row) -> TaskInfo | None:
    """The task in a row, None if only its tombstone is left.

    A row that cannot be decoded is shown as quarantined, with what its place tells.
    """
    id = row.key.removeprefix("t/")
    try:
        body = layout.unpack_task(row)
        if isinstance(body, Tombstone):
            return None
        if isinstance(body, Quarantined):
            return shown_quarantined(id, body.lane, body.field, body.why)
        return shown(body)
    except (Unreadable, InvalidTask) as error:
        kind, _, rest = row.bucket.partition("/")
        lane = rest.partition("/")[0] if kind in _OF_LANE else id.partition(":")[0]
        return shown_quarantined(id, lane, layout.gauge(row.bucket), str(error))


def read_expiry(row: Row, info: TaskInfo, paused: float) -> float:
    """When such a task in this row has waited too long; ``paused`` is its lane's total."""
    body = layout.unpack_task(row)
    if not isinstance(body, Record) or info.task is None:
        return 0.0
    return expires_at(info.task, body, paused) or 0.0
