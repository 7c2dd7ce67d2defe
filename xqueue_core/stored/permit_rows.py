"""The rows of the semaphore, and the sweep that removes those of no use.

========================  ==================================  ============
row                       bucket, order                       body
========================  ==================================  ============
``s/<key>``               ``permits-idle`` when it is of no   Gate
                          use any more, by that time
``permits/<worker>``      ``permits``, or ``permits-dead``    Registration
                          by the time of its death
``permits-mark``          none                                RenewalMark
========================  ==================================  ============

Rows of no use are kept for :data:`LINGER` seconds before they are removed, so that a key in use
now and then is not made anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xqueue_core.stored.gate import Gate
from xqueue_core.stored.layout import unpack
from xqueue_core.stored.leases import Registration, RenewalMark
from xqueue_core.stored.records import ABSENT, Change, Group, Now, Records, Row, Scan

#: Seconds for which a row of no use is kept.
LINGER = 30.0

MARK = "permits-mark"
_IDLE, _LIVING, _DEAD = "permits-idle", "permits", "permits-dead"
#: Rows read at a time by a sweep, and how many such pages at most.
_PAGE, _PAGES = 500, 10

_encode = msgspec.msgpack.Encoder().encode


def gate_key(key: str) -> str:
    """The row of a key."""
    return f"s/{key}"


def lease_key(worker: str) -> str:
    """The row of a worker's registration."""
    return f"permits/{worker}"


def topic(key: str, worker: str) -> str:
    """What rings when a permit of the key was granted to a waiter of the worker."""
    return f"permit/{key}/{worker}"


# -- reading ---------------------------------------------------------------------------------


def read_gate(row: Row | None) -> Gate | None:
    """A key's state; None if its row is damaged."""
    return Gate() if row is None else unpack(row, Gate)


def term_of(own: Registration | None, mark: RenewalMark, now: Now) -> int:
    """The term in which a worker that is seen now is registered: a new one if it was dead."""
    if own is None:
        return int(now.wall * 1e6)
    if own.dead or (own.overdue(now, mark.slowest) and mark.judges(now)):
        return max(own.term + 1, int(now.wall * 1e6))
    return own.term


# -- changes ---------------------------------------------------------------------------------


def gate_change(key: str, row: Row | None, gate: Gate, now: Now) -> Change | None:
    """The change that stores a key's state; None if nothing changed."""
    if row is None and gate.idle:
        return None
    body = _encode(gate)
    if row is not None and row.body == body:
        return None
    bucket, order = (_IDLE, int(now.wall * 1e6)) if gate.idle else ("", 0)
    return Change(gate_key(key), _version(row), body, bucket, order)


def registration_change(worker: str, row: Row | None, own: Registration) -> Change:
    """The change that registers a worker, or notes its renewal."""
    return Change(lease_key(worker), _version(row), _encode(own), _LIVING)


def death_change(row: Row, own: Registration, now: Now) -> Change:
    """The change that ends a registration, unless its worker renews first."""
    body = _encode(msgspec.structs.replace(own, dead=True))
    return Change(row.key, row.version, body, _DEAD, int(now.wall * 1e6))


def mark_change(row: Row | None, mark: RenewalMark) -> Change:
    """The change that stores the mark."""
    return Change(MARK, _version(row), _encode(mark))


def _version(row: Row | None) -> int:
    return ABSENT if row is None else row.version


# -- the sweep -------------------------------------------------------------------------------


async def sweep(records: Records) -> None:
    """Declare the overdue dead, and remove rows that have been of no use for long."""
    now = await records.now()
    [row] = await records.load([MARK])
    mark = unpack(row, RenewalMark)
    if mark is not None and not mark.stale(now) and mark.judges(now):
        await _bury(records, now, row, mark)
    for bucket in (_IDLE, _DEAD):
        await _remove(records, bucket, int((now.wall - LINGER) * 1e6))


async def _bury(records: Records, now: Now, mark_row: Row | None, mark: RenewalMark) -> None:
    """End overdue registrations, and let the mark follow the largest lease and heartbeat left."""
    changes: list[Change] = []
    lease = every = 0.0
    after = (-1, "")
    for _ in range(_PAGES):
        [rows] = await records.scan([Scan(_LIVING, _PAGE, after)])
        for row in rows:
            own = unpack(row, Registration)
            if own is not None and own.overdue(now, mark.slowest):
                changes.append(death_change(row, own, now))
            elif own is not None:
                lease, every = max(lease, own.lease), max(every, own.beats)
        if len(rows) < _PAGE:
            break
        after = (rows[-1].order, rows[-1].key)
    else:
        lease = 0.0  # there are more, and one of them may have the largest
    if lease and (lease < mark.lease or every < mark.slowest):
        shrunk = msgspec.structs.replace(mark, lease=lease, every=every)
        changes.append(mark_change(mark_row, shrunk))
    await _swap(records, changes)


async def _remove(records: Records, bucket: str, before: int) -> None:
    for _ in range(_PAGES):
        [rows] = await records.scan([Scan(bucket, _PAGE)])
        old = [row for row in rows if row.order < before]
        await _swap(records, [Change(row.key, row.version, None) for row in old])
        if len(old) < _PAGE:
            return


async def _swap(records: Records, changes: Sequence[Change]) -> None:
    if changes:  # a conflict means that somebody uses the row, or swept it
        await records.swap([Group([change]) for change in changes])
