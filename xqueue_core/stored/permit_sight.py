"""What one call of the semaphore knows while it runs: what was asked, and the rows as they were."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from xqueue_core.permits import Answer, Request
from xqueue_core.stored.gate import Gate
from xqueue_core.stored.leases import RenewalMark
from xqueue_core.stored.permit_rows import read_gate
from xqueue_core.stored.records import Change, Now, Row

logger = logging.getLogger("xqueue.stored")

#: Most rows remembered.
_ROWS = 1_000


class Asked(NamedTuple):
    """Requests of one call by key, and the answers as far as they are known."""

    requests: Sequence[Request]
    by_key: Mapping[str, list[int]]
    leases: Mapping[str, float]
    answers: list[Answer]


class Gates(NamedTuple):
    """Some keys' state as it was read, with the rows it was read from.

    A damaged row has no state, unless it was mended.
    """

    now: Now
    rows: Mapping[str, Row | None]
    of: dict[str, Gate]


class Sight(NamedTuple):
    """What answers depend on: ``terms`` has the registrations of those who ask."""

    gates: Gates
    terms: Mapping[str, int]
    mark_row: Row | None
    mark: RenewalMark


class LastRows:
    """Rows as this process has just written them, so that the next change need not read them.

    They may be out of date, so nothing may be answered by them alone: they serve to prepare a
    swap, which the versions confirm or refuse. Each is given out once.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}  # the oldest first

    def keep(self, written: Change) -> None:
        """Remember the row that this change has left."""
        key, expected, body, bucket, order, _ = written
        self._rows.pop(key, None)
        if body is None or expected < 1:  # the version of a row that is made is not known
            return
        self._rows[key] = Row(key, expected + 1, body, bucket, order)
        if len(self._rows) > _ROWS:
            del self._rows[next(iter(self._rows))]

    def take(self, keys: Sequence[str]) -> dict[str, Row]:
        """Those of these rows that are remembered; they are forgotten."""
        return {key: row for key in keys if (row := self._rows.pop(key, None)) is not None}


def gates_of(
    keys: Sequence[str],
    rows: Sequence[Row | None],
    now: Now,
    mend: Callable[[str, Now], Gate] | None = None,
) -> Gates:
    """The state of these keys; a damaged one has that which ``mend`` makes, or none."""
    by_key = dict(zip(keys, rows, strict=True))
    gates: dict[str, Gate] = {}
    for key, row in by_key.items():
        gate = read_gate(row)
        if gate is None and mend is not None:
            gate = mend(key, now)
        if gate is not None:
            gate.turn(now)
            gates[key] = gate
    return Gates(now, by_key, gates)


def rebuilt(key: str, now: Now) -> Gate:
    """In place of a damaged row, which is replaced by it: so this is said once."""
    logger.error(
        "the permits of key %r cannot be decoded: none is given for a lease, and then one at a "
        "time until an operator sets its limit",
        key,
    )
    return Gate.rebuilt(now)
