"""The notifier of the Redis backend: reads the stream of events.

Every script that changes tasks appends what it tells as one entry, see ``events``. A cursor is
the text ``<entry>.<n>.<number>``: the next event to read is number n of that entry, and ``number``
counts the entries that were ever added until it, so that a gap shows: ids of entries have holes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from xqueue_core.abc import Notice, Notifier
from xqueue_core.errors import ConfigError
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import Event
from xqueue_core.views import Filter
from xqueue_redis.events import packed, read

if TYPE_CHECKING:
    from xqueue_redis.connection import Link

#: Longest time in milliseconds until a subscriber looks again.
LOOK_EVERY = 1000
#: Entries read at a time, and most events in one that is written.
PAGE, EVENTS = 50, 500

_CURSOR = re.compile(r"([0-9]{1,20})-([0-9]{1,20})\.([0-9]{1,9})\.([0-9]{1,19})", re.ASCII)
_MOST = 2**64 - 1

_encode = msgspec.msgpack.Encoder().encode


class RedisNotifier(Notifier):
    """Events for every process that shares the server.

    Args:
        link: the connections.
        options: the options of the whole backend.
    """

    def __init__(self, link: Link, options: StoredOptions) -> None:
        self._link = link
        self._options = options

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish progress, and keep the latest of each task. Raises BrokerError.

        Progress of an earlier delivery than the one kept is an event like any other, but does
        not become the task's latest.
        """
        if not events:
            return
        pages = [packed(events[n : n + EVENTS]) for n in range(0, len(events), EVENTS)]
        latest = {event.id: event for event in events}
        kept = [
            argument
            for event in latest.values()
            for argument in (event.id, event.delivery, _encode(event))
        ]
        await self._link.run("notify/publish", len(pages), *pages, *kept)

    def subscribe(self, filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
        """Events that match, from now or after a cursor, as they come.

        Without a cursor "now" is when the first step of the iteration reads the log: what is
        written after that is not missed. An event that cannot be decoded shows as a gap, as do
        events beyond the retention. Raises ConfigError for text that is no cursor, and
        BrokerError; go on after either with the last cursor.
        """
        return self._follow(filter, None if after is None else _Place.parse(after))

    async def _follow(self, filter: Filter, place: _Place | None) -> AsyncIterator[Notice]:
        if place is None:
            place = (await self._log(_Id(_MOST, _MOST))).end
        while True:
            # Nothing is held open at a yield, so that an iteration may end anywhere.
            log = await self._log(place.entry)
            notices, place = _read(log, filter, place)
            for notice in notices:
                yield notice
            if not log.entries and not notices:
                await self._wait(place)

    async def _log(self, start: _Id) -> _Log:
        """The entries from this one on, and what is known of the stream."""
        added, kept, first, last, *flat = await self._link.run("notify/read", start.text, PAGE)
        entries = [
            (_Id.parse(id), events) for id, events in zip(flat[::2], flat[1::2], strict=True)
        ]
        return _Log(added, kept, _Id.parse(first) if first else None, _Id.parse(last), entries)

    async def _wait(self, place: _Place) -> None:
        """Until there may be something at this place."""
        key, behind = f"{self._link.prefix}events", place.entry.before.text
        async with self._link.blocking() as connection:
            # Read anew afterwards, together with what tells of a gap.
            await connection.command(
                "XREAD", "COUNT", 1, "BLOCK", LOOK_EVERY, "STREAMS", key, behind
            )


class _Id(NamedTuple):
    """An entry's id; in the stream's order."""

    first: int
    second: int

    @property
    def text(self) -> str:
        return f"{self.first}-{self.second}"

    @property
    def next(self) -> _Id:
        return _Id(self.first, self.second + 1) if self.second < _MOST else _Id(self.first + 1, 0)

    @property
    def before(self) -> _Id:
        if self.second > 0:
            return _Id(self.first, self.second - 1)
        return _Id(self.first - 1, _MOST) if self.first > 0 else self

    @classmethod
    def parse(cls, id: bytes) -> _Id:
        first, _, second = id.partition(b"-")
        return cls(int(first), int(second))


class _Place(NamedTuple):
    """A place in the log: the next event to read is number ``skip`` of ``entry``.

    That entry, be it there yet or not, is number ``number`` of all that were ever added.
    """

    entry: _Id
    skip: int
    number: int

    @property
    def text(self) -> str:
        """The cursor as others keep it."""
        return f"{self.entry.text}.{self.skip}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> _Place:
        """The place a cursor names. Raises ConfigError."""
        found = _CURSOR.fullmatch(text)
        numbers = [int(one) for one in found.groups()] if found else []
        if not found or max(numbers[:2]) > _MOST:
            raise ConfigError(f"{text[:60]!r} is not a cursor of this notifier")
        first, second, skip, number = numbers
        return cls(_Id(first, second), skip, number)


class _Log(NamedTuple):
    """A piece of the stream.

    Attributes:
        added: how many entries were ever added.
        kept: how many are there.
        first: the first of those, None if there are none.
        last: the one added last, be it there or not.
        entries: those asked for, with their events; None where an entry is not ours.
    """

    added: int
    kept: int
    first: _Id | None
    last: _Id
    entries: Sequence[tuple[_Id, bytes | None]]

    @property
    def begin(self) -> _Place:
        """The first that is there, or will be."""
        return _Place(self.first or self.last.next, 0, self.added - self.kept + 1)

    @property
    def end(self) -> _Place:
        """Behind the last."""
        return _Place(self.last.next, 0, self.added + 1)

    def lacks(self, place: _Place) -> bool:
        """True if entries from this place on are gone, or if it lies in a stream that is lost."""
        begin = self.begin
        if place.number < begin.number:
            return True  # trimmed
        if place.number > self.added + 1 or place.entry > self.last.next:
            return True  # begun anew: with fewer entries, or with a clock that is behind
        # Begun anew, too: what came before the place lies behind it.
        return begin.number < place.number and self.first is not None and self.first >= place.entry

    def resumed(self, place: _Place) -> _Place:
        """Where to go on from a place of which this lacks something.

        After a failover, or a power cut, its tail may be lost, and all before the place has been
        read: then behind that. Else at its beginning.
        """
        begin = self.begin
        read = self.first is not None and self.first < place.entry and begin.number <= place.number
        # One that was begun anew under a clock that is behind looks the same, but for its length;
        # and one that is short may as well be read again.
        if not read or self.added <= PAGE:
            return begin
        return self.counted(place) if place.entry <= self.last.next else self.end

    def counted(self, place: _Place) -> _Place:
        """The place, with a number that the entries behind it leave room for."""
        return place._replace(number=min(place.number, self.added + 1 - len(self.entries)))

    def unread_before(self, place: _Place) -> int:
        """How many entries were added since the place was written, but lie before it.

        After a failover to a server with a clock that is behind. It cannot be told where more
        follow than one look shows.
        """
        if len(self.entries) >= PAGE:
            return 0
        return max(0, self.added + 1 - place.number - len(self.entries))


def _read(log: _Log, filter: Filter, place: _Place) -> tuple[list[Notice], _Place]:
    """What follows a place, as far as it matches, and the place behind it."""
    if log.lacks(place):
        place = log.resumed(place)
        return [Notice(place.text, None)], place
    place = log.counted(place)
    if unread := log.unread_before(place):
        place = place._replace(number=place.number + unread)
        return [Notice(place.text, None)], place
    notices: list[Notice] = []
    for id, entry in log.entries:
        number = place.number
        events = read(entry)
        start = place.skip if id == place.entry else 0
        behind = _Place(id.next, 0, number + 1)
        for n, event in enumerate(events[start:], start + 1):
            place = _Place(id, n, number) if n < len(events) else behind
            if event is None or filter.matches(event):
                notices.append(Notice(place.text, event))
        place = behind
    return notices, place
