"""Pages through all tasks, place by place.

The order is that of a task's life: parked, scheduled, ready, held, final, quarantined; so a task
that moves on between two pages may be listed twice, and is missed only if it moved back (a
retry, a hand-back, a replay). One script tells which tasks lie where; what is then read of a task
counts only if it says that it still lies there.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from xqueue_core.errors import ConfigError
from xqueue_core.task import FINAL, State
from xqueue_core.views import Filter, TaskInfo, Tasks
from xqueue_redis.reading import DAMAGED, Found, read_tasks, unframed

if TYPE_CHECKING:
    from xqueue_redis.connection import Link

#: Tasks that one page looks at before it is answered, be it full or not.
BUDGET = 5_000
#: Tasks read at a time, places looked into at a time, and names of lines read at a time.
ROWS, PLACES, NAMES = 250, 64, 500

_PHASES = ("line", "later", "ready", "held", "done", "quarantine")
_STATES: dict[str, frozenset[State]] = {
    "line": frozenset({State.PENDING}),
    "later": frozenset({State.SCHEDULED}),
    "ready": frozenset({State.PENDING}),
    "held": frozenset({State.PROCESSING}),
    "done": FINAL,
    "quarantine": frozenset(State),
}
#: Kinds of places, as ``lua/view/places.lua`` names them, and where these lie.
_KINDS = {
    "line": ("zset", b"line:"),
    "later": ("zset", b"later"),
    "ready": ("ready", b""),
    "held": ("held", b""),
    "done": ("zset", b"done:"),
    "quarantine": ("zset", b"quarantine"),
}
#: The mark of a task that may be leased: its level, and its id or its entry.
_READY_MARK = re.compile(rb"[0-9](!.*|[0-9]{1,20}-[0-9]{1,20})", re.DOTALL)


class _Cursor(msgspec.Struct, array_like=True, omit_defaults=True):
    """Behind which task the next page begins: a phase, a place in it, and the task's place there.

    ``name`` is a lane, a worker, or a lane and a key with a zero byte in between; with
    ``Filter.ids`` it is an id.
    """

    phase: int = 0
    name: bytes = b""
    order: float | None = None  # None: at the beginning
    mark: bytes = b""

    @property
    def text(self) -> str:
        return base64.urlsafe_b64encode(_encode(self)).decode()

    @property
    def start(self) -> tuple[Any, ...]:
        """Order and mark as the script takes them."""
        return ("", "") if self.order is None else (repr(self.order), self.mark)

    @classmethod
    def parse(cls, text: str) -> _Cursor:
        try:
            found = _decode(base64.urlsafe_b64decode(text.encode()))
        except (*DAMAGED, binascii.Error, UnicodeError, ValueError) as error:
            raise ConfigError(f"{text[:60]!r} is not a cursor of this listing") from error
        if not found._sound():
            raise ConfigError(f"{text[:60]!r} is not a cursor of this listing")
        return found

    def _sound(self) -> bool:
        if not 0 <= self.phase < len(_PHASES):
            return False
        if self.order is None:
            return True
        marked = _PHASES[self.phase] != "ready" or _READY_MARK.fullmatch(self.mark) is not None
        return math.isfinite(self.order) and marked


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Cursor).decode


async def page(link: Link, filter: Filter, after: str | None, limit: int) -> Tasks:
    """A page of tasks that match, and the cursor behind it. Raises ConfigError, BrokerError."""
    cursor = _Cursor() if after is None else _Cursor.parse(after)
    if limit < 1:
        return Tasks([], after)
    if filter.ids:
        return await _named(link, filter, cursor, limit)
    walk = _Walk(link, filter, cursor, min(ROWS, limit))
    found = Tasks([], in_order=True)  # as tasks lie in their places
    looked = 0
    while not walk.ended:
        for place, info in await walk.read():
            looked += 1
            if info is not None and _matches(filter, info):
                found.items.append(info)
            if len(found.items) >= limit or looked >= BUDGET:
                found.next = place.text
                return found
    return found


async def _named(link: Link, filter: Filter, cursor: _Cursor, limit: int) -> Tasks:
    """A page of the tasks whose ids are given, in the order of those."""
    ids = sorted(id for id in filter.ids if id.encode() > cursor.name)
    found = Tasks([])
    for n in range(0, len(ids), ROWS):
        part = ids[n : n + ROWS]
        for id, one in zip(part, (await read_tasks(link, part, whole=False))[0], strict=True):
            if one is not None and _matches(filter, one.info):
                found.items.append(one.info)
            if len(found.items) >= limit:
                found.next = _Cursor(name=id.encode()).text if id != ids[-1] else None
                return found
    return found


def _matches(filter: Filter, info: TaskInfo) -> bool:
    return (
        (not filter.states or info.state in filter.states)
        and (not filter.lanes or info.lane in filter.lanes)
        and (not filter.types or info.type in filter.types)
    )


class _Walk:
    """Reads the places one after the other, a few at a time."""

    def __init__(self, link: Link, filter: Filter, start: _Cursor, rows: int) -> None:
        self._link = link
        self._filter = filter
        self._rows = rows
        self._phase = start.phase
        self._todo: list[_Cursor] = []  # a place each, and where to go on in it
        self._from: _Cursor | None = start
        self._more = b""  # behind which line the others are, empty if there are none

    @property
    def ended(self) -> bool:
        """True if nothing is left to read."""
        return self._phase >= len(_PHASES)

    async def read(self) -> list[tuple[_Cursor, TaskInfo | None]]:
        """Some more tasks, each with the cursor behind it; perhaps none before the end.

        None stands for what does not lie there any more, or is not of a type that is wanted.
        """
        if not self._todo:
            await self._open()
        places = await self._places(self._todo[:PLACES]) if self._todo else []
        wanted = [id for _, id in places if id and self._of_type(id)]
        read, _ = await read_tasks(self._link, wanted, whole=False) if wanted else ((), 0.0)
        known = dict(zip(wanted, read, strict=True))
        phase = _PHASES[self._phase]
        if not self._todo and not self._more:
            self._phase += 1
        return [(place, _lying(known.get(id), phase, place)) for place, id in places]

    async def _places(self, some: Sequence[_Cursor]) -> list[tuple[_Cursor, str]]:
        """The next tasks in these places, with their ids. What was read to its end is done."""
        kind, prefix = _KINDS[_PHASES[self._phase]]
        asked = [
            argument
            for one in some
            for argument in (kind, prefix + one.name.replace(b"\0", b":", 1), *one.start)
        ]
        done, *framed = await self._link.run("view/places", self._rows, *asked)
        flat = unframed(*framed)
        rows = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
        found = [
            (_Cursor(self._phase, some[int(place)].name, float(order), mark), _id(id))
            for place, order, mark, id in rows
        ]
        del self._todo[:done]
        if done < len(some):
            self._todo[0] = found[-1][0]
        return found

    def _of_type(self, id: str) -> bool:
        return not self._filter.types or id.partition(":")[0] in self._filter.types

    async def _open(self) -> None:
        """Find the places of this phase, or of the rest of it."""
        phase, start = _PHASES[self._phase], self._from
        self._from = None
        if start is None or start.phase != self._phase:
            start = _Cursor(self._phase)
        if self._filter.states and not self._filter.states & _STATES[phase]:
            return
        if phase == "line":
            found = await self._lines(start.name)
        elif phase == "held":
            found = sorted(await self._link.run("view/names", "workers"))
        elif phase in ("later", "quarantine"):
            found = [b""]
        else:
            found = self._wanted(sorted(await self._link.run("view/names", "lanes")))
        self._todo = [
            start if name == start.name else _Cursor(self._phase, name)
            for name in found
            if name >= start.name
        ]

    async def _lines(self, start: bytes) -> list[bytes]:
        """The next lines, from ``start`` or from behind those read last."""
        lanes = sorted(lane.encode() for lane in self._filter.lanes)
        lowest = max(start, lanes[0] + b"\0") if lanes else start
        first = b"(" + self._more if self._more else b"[" + lowest if lowest else b"-"
        last = b"(" + lanes[-1] + b"\1" if lanes else b"+"
        part = await self._link.run("view/names", "lines", first, last, NAMES)
        self._more = part[-1] if len(part) == NAMES else b""
        return self._wanted(part)

    def _wanted(self, names: Sequence[bytes]) -> list[bytes]:
        lanes = {lane.encode() for lane in self._filter.lanes}
        return [name for name in names if not lanes or name.partition(b"\0")[0] in lanes]


def _id(name: bytes) -> str:
    """A task's id, "" if that is none."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return ""


def _lying(found: Found | None, phase: str, place: _Cursor) -> TaskInfo | None:
    """The task, if it still lies in this place."""
    if found is None:
        return None
    record = found.record
    if found.aside or phase == "quarantine":
        here = found.aside and phase == "quarantine"
    elif record is None:
        here = True  # of what cannot be decoded nothing else tells
    elif phase == "ready":
        entry = place.mark[1:]
        here = record.state is State.PENDING and not record.parked
        here = here and found.entry.encode() == (b"" if entry.startswith(b"!") else entry)
    elif phase == "line":
        here = record.parked
    elif phase == "held":
        here = record.state is State.PROCESSING and record.worker.encode() == place.name
    else:
        here = record.state is State.SCHEDULED if phase == "later" else record.state.final
    return found.info if here else None
