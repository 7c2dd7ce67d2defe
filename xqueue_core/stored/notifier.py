"""The notifier of a backend built over ``Records`` and ``Bell``: reads the event log.

The queue writes transitions to the log in the same swap as the state. A cursor is the text
``<log cursor>.<n>``: the next event to read is number n of that entry.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import msgspec

from xqueue_core.abc import Notice, Notifier
from xqueue_core.errors import ConfigError
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import ABSENT, Bell, Change, Group, Records, Row
from xqueue_core.stored.tasks import EVENTS
from xqueue_core.task import Event
from xqueue_core.views import Filter

#: Longest time in seconds until a subscriber looks again without a ring.
LOOK_EVERY = 1.0
#: Log entries read at a time.
PAGE = 256
#: Tasks whose progress is stored in one group; a group may have 8 changes.
_PER_GROUP = 8
#: Attempts to store the latest progress before it is left to the publisher who was faster.
_ROUNDS = 3

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


def progress_key(id: str) -> str:
    """The row with the latest progress of a task, an Event."""
    return f"progress/{id}"


def read_event(body: bytes) -> Event | None:
    """An event as the log and the progress rows keep it; None if it cannot be decoded."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class StoredNotifier(Notifier):
    """Events for every process that shares the store.

    Args:
        records: the store.
        bell: wakes subscribers.
        options: ``event_retention`` is how long a task's last progress is kept.
    """

    def __init__(self, records: Records, bell: Bell, options: StoredOptions) -> None:
        self._records = records
        self._bell = bell
        self._options = options

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish progress, and store the latest of each task. Raises BrokerError.

        Progress of an earlier delivery than the one stored is an event like any other, but
        does not become the task's latest.
        """
        by_id: dict[str, list[Event]] = {}
        for event in events:
            by_id.setdefault(event.id, []).append(event)
        ids = list(by_id)
        todo = [ids[n : n + _PER_GROUP] for n in range(0, len(ids), _PER_GROUP)]
        for n in range(_ROUNDS):
            groups = await self._groups(todo, by_id, latest=n < _ROUNDS - 1)
            done = await self._records.swap(groups) if groups else ()
            todo = [part for part, applied in zip(todo, done, strict=True) if not applied]
            if not todo:
                break
        if events:
            await self._bell.ring({EVENTS})

    def subscribe(self, filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
        """Events that match, from now or after a cursor, as they come.

        Without a cursor "now" is when the first step of the iteration reads the log: what is
        written after that is not missed. An event that cannot be decoded shows as a gap, as do
        events beyond the retention. Raises ConfigError for text that is no cursor, and
        BrokerError; go on after either with the last cursor.
        """
        return self._follow(filter, None if after is None else _Place.parse(after))

    # -- publishing ------------------------------------------------------------------------------

    async def _groups(
        self, parts: Sequence[Sequence[str]], by_id: dict[str, list[Event]], *, latest: bool
    ) -> list[Group]:
        packed = [[_encode(event) for id in part for event in by_id[id]] for part in parts]
        if not latest or not parts:
            return [Group(events=events) for events in packed]
        keys = [progress_key(id) for part in parts for id in part]
        rows = dict(zip(keys, await self._records.load(keys), strict=True))
        alarm = (await self._records.now()).wall + self._options.event_retention
        groups: list[Group] = []
        for part, entries in zip(parts, packed, strict=True):
            found = (_latest(rows[progress_key(id)], by_id[id][-1], alarm) for id in part)
            groups.append(Group([change for change in found if change is not None], entries))
        return groups

    # -- subscribing -----------------------------------------------------------------------------

    async def _follow(self, filter: Filter, place: _Place | None) -> AsyncIterator[Notice]:
        if place is None:
            place = _Place((await self._records.log(None, 0)).last + 1, 0)
        while True:
            # Nothing is held open at a yield, so that an iteration may end anywhere.
            notices, place = await self._read(filter, place)
            for notice in notices:
                yield notice
            if not notices:
                await self._wait(place)

    async def _wait(self, place: _Place) -> None:
        """Until there may be something at this place."""
        async with self._bell.listen({EVENTS}) as rung:
            if (await self._records.log(None, 0)).last < place.entry:
                await rung(LOOK_EVERY)

    async def _read(self, filter: Filter, place: _Place) -> tuple[list[Notice], _Place]:
        """What follows a place, as far as it matches, and the place behind it."""
        log = await self._records.log(place.entry - 1, PAGE)
        notices: list[Notice] = []
        if place.entry < log.first or place.entry > log.last + 1:
            # Trimmed meanwhile, or a log that was lost and started again.
            place = _Place(log.first, 0)
            return [Notice(place.text, None)], place
        for cursor, events in log.entries:
            start = place.skip if cursor == place.entry else 0
            for n, body in enumerate(events[start:], start + 1):
                place = _Place(cursor, n) if n < len(events) else _Place(cursor + 1, 0)
                event = read_event(body)
                if event is None or filter.matches(event):
                    notices.append(Notice(place.text, event))
            place = _Place(cursor + 1, 0)
        return notices, place


class _Place(NamedTuple):
    """A place in the log: the next event to read is number ``skip`` of ``entry``."""

    entry: int
    skip: int

    @property
    def text(self) -> str:
        """The cursor as others keep it."""
        return f"{self.entry}.{self.skip}"

    @classmethod
    def parse(cls, text: str) -> _Place:
        """The place a cursor names. Raises ConfigError."""
        entry, _, index = text.partition(".")
        if not (entry.isdecimal() and index.isdecimal() and text.isascii() and len(text) < 40):
            raise ConfigError(f"{text[:60]!r} is not a cursor of this notifier")
        return cls(max(1, int(entry)), int(index))


def _latest(row: Row | None, event: Event, alarm: float) -> Change | None:
    """The change that stores a task's latest progress; None if a newer delivery's is there."""
    stored = read_event(row.body) if row is not None else None
    if stored is not None and stored.delivery > event.delivery:
        return None
    version = ABSENT if row is None else row.version
    return Change(progress_key(event.id), version, _encode(event), alarm=alarm)
