"""The two small interfaces over which ``xqueue_core.stored`` builds a whole backend.

:class:`Records` is any store that can change a few rows atomically when their versions are as
expected: a SQL database, a key-value store, a dict. :class:`Bell` is anything that can wake a
waiting process, for example a broker used only as a doorbell.

Authors: raise ``Unavailable``, ``Unknown`` or ``Refused`` when the store fails, never retry,
and be safe to cancel at any await. ``docs/writing-a-backend.md`` walks through one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

#: ``Change.expected`` for a row that may be absent or have any version.
ANY = -1
#: ``Change.expected`` for a row that must not exist.
ABSENT = 0


class Now(NamedTuple):
    """The store's clocks."""

    wall: float  #: UTC seconds since the epoch
    steady: float  #: seconds that only move forward, also through a suspend
    epoch: str  #: id of the boot or run in which ``steady`` readings can be compared


class Row(NamedTuple):
    """One row as it was read."""

    key: str
    version: int  #: one more with each change; see :meth:`Records.swap` for the first
    body: bytes
    bucket: str
    order: int


class Change(NamedTuple):
    """One row's new content, on condition of its version.

    ``body=None`` removes the row. ``bucket`` "" keeps it out of every scan. ``alarm`` (wall
    seconds) lists it in :meth:`Records.due` from then on. A change sets all of them: a bucket
    or alarm left out is gone.
    """

    key: str
    expected: int
    body: bytes | None
    bucket: str = ""
    order: int = 0
    alarm: float | None = None


class Group(NamedTuple):
    """Up to 8 changes that are applied all or none, with their events and count deltas.

    A group without changes always applies.
    """

    changes: Sequence[Change] = ()
    events: Sequence[bytes] = ()
    counts: Mapping[str, int] = {}


class Scan(NamedTuple):
    """The first ``limit`` rows of a bucket behind the position ``after``."""

    bucket: str
    limit: int
    after: tuple[int, str] = (-1, "")  #: (order, key); orders are 0 or more


class Log(NamedTuple):
    """A piece of the event log: ``entries`` of (cursor, events written by one swap).

    ``first`` and ``last`` are the cursors of the oldest and newest entries kept; for an empty
    log ``first`` is ``last + 1``.
    """

    entries: Sequence[tuple[int, Sequence[bytes]]]
    first: int
    last: int


class Records(ABC):
    """Rows with versions, buckets, alarms, counts and a log of events."""

    @abstractmethod
    async def now(self) -> Now:
        """Read the store's clocks: the same ones for every process that shares the store."""

    @abstractmethod
    async def load(self, keys: Sequence[str]) -> Sequence[Row | None]:
        """The rows with these keys, None where there is none."""

    @abstractmethod
    async def swap(self, groups: Sequence[Group]) -> Sequence[bool]:
        """Apply each group if every row in it has the version expected; one verdict each.

        Groups are independent but applied in order: a later one sees what an earlier one of
        the same call wrote. A row that is made gets a version of 1 or more that its key never
        had, for instance the nanoseconds of the clock: whoever read a row before it was removed
        must not mistake a new one for it. Rows, events and counts of a group change together,
        and are durable when the call returns. A ``Unknown`` raise is safe to repeat only in the
        sense that versions tell what happened: callers load again.
        """

    @abstractmethod
    async def scan(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        """For each scan the bucket's rows in order of (order, key)."""

    async def outline(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        """The same rows as :meth:`scan` finds, for who does without their bodies.

        A body may be left out: ``b""`` in its place. Each heartbeat asks so for all that a worker
        holds, so where bodies cost something to read this is worth a method of its own.
        """
        return await self.scan(scans)

    @abstractmethod
    async def due(self, limit: int) -> tuple[Sequence[Row], float | None]:
        """Rows whose alarm has passed, earliest first, and the next alarm after now, if any."""

    @abstractmethod
    async def counts(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        """Counts that are not 0 whose name has this prefix and sorts behind ``after``."""

    @abstractmethod
    async def log(self, after: int | None, limit: int) -> Log:
        """At most ``limit`` log entries behind the cursor; None reads no entries.

        Cursors are 1 or more and grow in the order in which entries become visible: once a
        cursor has been read, no entry at or below it ever appears.
        """

    @abstractmethod
    async def trim(self, before: float) -> None:
        """Drop log entries written before this wall time. May keep some longer."""


#: Waits until a topic listened to has rung since the last wait, at most this many seconds.
Wait = Callable[[float], Awaitable[None]]


class Bell(ABC):
    """Wakes waiting processes. Rings may be lost, repeated and reordered: callers look again."""

    @abstractmethod
    async def ring(self, topics: Collection[str]) -> None:
        """Wake whoever listens to one of these topics. Never blocks for long, never raises."""

    @abstractmethod
    def listen(self, topics: Collection[str]) -> AbstractAsyncContextManager[Wait]:
        """Listen within the context; a ring that comes before the first wait is not missed."""
