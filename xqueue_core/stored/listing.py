"""Pages through stored tasks, bucket by bucket.

The order is that of a task's life: parked, scheduled, ready, held, final, quarantined; so a task
that moves on between two pages may be listed twice, and is missed only if it moved back (a
retry, a hand-back, a replay).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec

from xqueue_core.errors import ConfigError
from xqueue_core.stored import layout
from xqueue_core.stored.infos import read_info
from xqueue_core.stored.records import Records, Row, Scan
from xqueue_core.task import FINAL, State
from xqueue_core.views import Filter, TaskInfo, Tasks

#: Rows that one page looks at before it is answered, be it full or not.
BUDGET = 5_000
#: Rows and buckets read at a time.
_ROWS, _BUCKETS = 200, 8
#: Names read at a time.
NAMES = 500

_PHASES = ("line", "later", "ready", "held", "done", "quarantine")
_STATES: dict[str, frozenset[State]] = {
    "line": frozenset({State.PENDING}),
    "later": frozenset({State.SCHEDULED, State.PENDING}),
    "ready": frozenset({State.PENDING}),
    "held": frozenset({State.PROCESSING}),
    "done": FINAL,
    "quarantine": frozenset(State),
}


class _Cursor(msgspec.Struct, array_like=True):
    """Behind which row the next page begins: a phase, a bucket's name in it, a place in that."""

    phase: int = 0
    name: str = ""
    order: int = -1
    key: str = ""

    @property
    def text(self) -> str:
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode()

    @classmethod
    def parse(cls, text: str) -> _Cursor:
        try:
            return _decode(base64.urlsafe_b64decode(text.encode()))
        except (msgspec.MsgspecError, binascii.Error, UnicodeError) as error:
            raise ConfigError(f"{text[:60]!r} is not a cursor of this listing") from error


_decode = msgspec.msgpack.Decoder(_Cursor).decode


async def rows_of(records: Records, bucket: str) -> list[Row]:
    """All rows of a bucket."""
    found: list[Row] = []
    after = (-1, "")
    while True:
        [rows] = await records.scan([Scan(bucket, NAMES, after)])
        found += rows
        if len(rows) < NAMES:
            return found
        after = (rows[-1].order, rows[-1].key)


async def names(records: Records, bucket: str, prefix: str) -> list[str]:
    """What the rows of a bucket are called, without their prefix, in order."""
    return sorted(row.key.removeprefix(prefix) for row in await rows_of(records, bucket))


async def counts(records: Records, prefix: str) -> dict[str, int]:
    """All counts with this prefix, by what follows it."""
    found: dict[str, int] = {}
    after = ""
    while True:
        part = await records.counts(prefix, after, NAMES)
        found.update((name.removeprefix(prefix), n) for name, n in part)
        if len(part) < NAMES:
            return found
        after = part[-1][0]


async def lanes(records: Records) -> list[str]:
    """Every lane that was declared or used, in order."""
    declared = await names(records, layout.LANES, "lane/")
    return sorted({*declared, *(name.partition("/")[0] for name in await counts(records, "c/"))})


async def page(records: Records, filter: Filter, after: str | None, limit: int) -> Tasks:
    """A page of tasks that match, and the cursor behind it. Raises ConfigError."""
    cursor = _Cursor() if after is None else _Cursor.parse(after)
    if limit < 1:
        return Tasks([], after)
    if filter.ids:
        return await _named(records, filter, cursor, limit)
    walk = _Walk(records, filter, cursor, min(_ROWS, limit))
    found = Tasks([], in_order=True)  # as rows lie in their buckets
    looked = 0
    while not walk.ended:
        for place, row in await walk.read():
            looked += 1
            _add(found, filter, row)
            if len(found.items) >= limit or looked >= BUDGET:
                found.next = place.text
                return found
    return found


async def _named(records: Records, filter: Filter, cursor: _Cursor, limit: int) -> Tasks:
    """A page of the tasks whose ids are given, in the order of those."""
    ids = sorted(id for id in filter.ids if id > cursor.name)
    found = Tasks([])
    for n in range(0, len(ids), _ROWS):
        part = ids[n : n + _ROWS]
        for id, row in zip(part, await records.load([f"t/{id}" for id in part]), strict=True):
            if row is not None:
                _add(found, filter, row)
            if len(found.items) >= limit:
                found.next = _Cursor(name=id).text if id != ids[-1] else None
                return found
    return found


def _add(found: Tasks, filter: Filter, row: Row) -> None:
    info = read_info(row)
    if info is not None and _matches(filter, info):
        info.result = None
        found.items.append(info)


def _matches(filter: Filter, info: TaskInfo) -> bool:
    return (
        (not filter.states or info.state in filter.states)
        and (not filter.lanes or info.lane in filter.lanes)
        and (not filter.types or info.type in filter.types)
    )


class _Walk:
    """Reads the buckets one after the other, a few at a time."""

    def __init__(self, records: Records, filter: Filter, start: _Cursor, rows: int) -> None:
        self._records = records
        self._filter = filter
        self._rows = rows
        self._phase = start.phase
        self._todo: list[tuple[str, tuple[int, str]]] = []  # buckets' names, and places in them
        self._from: _Cursor | None = start
        self._more = ""  # where the names of lines go on, "" if they do not

    @property
    def ended(self) -> bool:
        """True if nothing is left to read."""
        return self._phase >= len(_PHASES)

    async def read(self) -> list[tuple[_Cursor, Row]]:
        """Some more rows, each with the cursor behind it; perhaps none before the end."""
        if not self._todo:
            await self._open()
        some = self._todo[:_BUCKETS]
        phase = _PHASES[self._phase]
        scans = [Scan(f"{phase}/{name}" if name else phase, self._rows, at) for name, at in some]
        found: list[tuple[_Cursor, Row]] = []
        read = await self._records.scan(scans) if scans else ()
        for n, ((name, _), rows) in enumerate(zip(some, read, strict=True), 1):
            found += ((_Cursor(self._phase, name, row.order, row.key), row) for row in rows)
            if len(rows) == self._rows:
                self._todo[:n] = [(name, (rows[-1].order, rows[-1].key))]
                return found
        del self._todo[: len(some)]
        if not self._todo and not self._more:
            self._phase += 1
        return found

    async def _open(self) -> None:
        """Find the buckets of this phase, or of the rest of it."""
        phase, start = _PHASES[self._phase], self._from
        self._from = None
        if start is None or start.phase != self._phase:
            start = _Cursor(self._phase)
        if self._filter.states and not self._filter.states & _STATES[phase]:
            return
        if phase == "line":
            found = await self._lines(start.name)
        elif phase == "held":
            found = await names(self._records, layout.WORKERS, "worker/")
        elif phase == "quarantine":
            found = [""]
        else:
            found = self._wanted(await lanes(self._records))
        place = (start.order, start.key)
        self._todo = [
            (name, place if name == start.name else (-1, ""))
            for name in found
            if name >= start.name
        ]

    async def _lines(self, start: str) -> list[str]:
        """The next lines, ``<lane>/<key>``, from ``start`` or from where the last ones ended."""
        found = [start] if start else []
        after = self._more or start
        part = await self._records.counts("k/", f"k/{after}" if after else "", NAMES)
        found += (name.removeprefix("k/") for name, _ in part)
        self._more = found[-1] if len(part) == NAMES else ""
        return [name for name in found if self._wanted([name.partition("/")[0]])]

    def _wanted(self, lanes: Iterable[str]) -> list[str]:
        return [lane for lane in lanes if not self._filter.lanes or lane in self._filter.lanes]
