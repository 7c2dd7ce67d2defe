"""What is remembered of workers that are gone: who left, and what the dead were ordered to do."""

from __future__ import annotations

from xqueue_core.calls import Beat
from xqueue_core.stored import layout
from xqueue_core.stored.layout import Left, Orders, WorkerRow
from xqueue_core.stored.records import ANY, Change, Row

#: How long a heartbeat may be under way behind the one with which its worker left (seconds).
LATE = 30.0
#: How long the dead may take to come back and do what they were ordered to (seconds).
ORDERED = 3600.0


def who(beat: Beat) -> tuple[str, int, float]:
    """The process that sent a heartbeat, as far as that says so."""
    return beat.host, beat.pid, beat.started_at


def another(one: tuple[str, int, float], other: tuple[str, int, float]) -> bool:
    """True if the two are different processes, as far as they say who they are."""
    return bool(one[2]) and bool(other[2]) and one != other


def left(beat: Beat, wall: float) -> Change:
    """Remember that a worker left with this heartbeat."""
    body = layout.pack(Left(beat.number, who(beat)))
    return Change(f"left/{beat.worker}", ANY, body, alarm=wall + LATE)


def is_late(row: Row | None, beat: Beat) -> bool:
    """True if the worker that sent this has left since."""
    found = layout.unpack(row, Left)
    if found is None or not beat.started_at:
        return False
    return found.of == who(beat) and 0 < beat.number < found.number


def kept(worker: str, row: Row | None, dead: WorkerRow, wall: float) -> Change:
    """What becomes of the orders of a worker that was declared dead."""
    orders = layout.unpack(row, Orders)
    version = ANY if row is None else row.version  # another order may come meanwhile
    if orders is None or not (orders.quiet or orders.stop):
        return Change(f"orders/{worker}", version, None)
    body = layout.pack(Orders(orders.quiet, orders.stop, orders.of or who(dead.beat)))
    return Change(f"orders/{worker}", version, body, alarm=wall + ORDERED)


def ordered(row: Row | None, beat: Beat) -> tuple[Orders, Change | None]:
    """What the worker that sent this is ordered to do; and how that is written if it is back."""
    orders = layout.unpack(row, Orders)
    if orders is None or orders.of is None:
        return orders or Orders(), None
    if another(orders.of, who(beat)):
        return Orders(), Change(f"orders/{beat.worker}", ANY, None)
    orders.of = None
    return orders, Change(f"orders/{beat.worker}", ANY, layout.pack(orders))
