"""``Records`` on one SQLite file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xqueue_core.stored.records import Group, Log, Now, Records, Row, Scan
from xqueue_sqlite import reader
from xqueue_sqlite.reader import Read
from xqueue_sqlite.writer import Swap, Trim

if TYPE_CHECKING:
    from xqueue_sqlite.here import ReadsHere
    from xqueue_sqlite.store import Store


class SqliteRecords(Records):
    """Rows, counts and log of one namespace in one file.

    May be used from several event loops. Writes of all of them go through one thread, and what
    gathers while a transaction is under way shares the next one.

    Args:
        store: the open file.
        here: answers short reads on the loop on which it was opened; without one all are
            answered in the store's thread.
    """

    def __init__(self, store: Store, here: ReadsHere | None = None) -> None:
        self._store = store
        self._read = store.read if here is None else here.read

    async def now(self) -> Now:
        """Read the host's clocks."""
        return self._store.clock()

    async def load(self, keys: Sequence[str]) -> Sequence[Row | None]:
        """The rows with these keys, None where there is none."""
        if not keys:
            return []
        found: list[Row | None] = await self._read(Read(reader.load, (keys,), len(keys)))
        return found

    async def swap(self, groups: Sequence[Group]) -> Sequence[bool]:
        """Apply each group if every row in it has the version expected; one verdict each."""
        if not groups:
            return []
        verdicts: list[bool] = await self._store.write(Swap(groups))
        return verdicts

    async def scan(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        """For each scan the bucket's rows in order of (order, key)."""
        if not scans:
            return []
        found: list[list[Row]] = await self._read(
            Read(reader.scan, (scans,), sum(scan.limit for scan in scans))
        )
        return found

    async def outline(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        """The same without the bodies, whose pages are not read."""
        if not scans:
            return []
        found: list[list[Row]] = await self._read(
            Read(reader.outline, (scans,), sum(scan.limit for scan in scans))
        )
        return found

    async def due(self, limit: int) -> tuple[Sequence[Row], float | None]:
        """Rows whose alarm has passed, earliest first, and the next alarm after now, if any."""
        now = self._store.clock().wall
        found: tuple[list[Row], float | None] = await self._read(
            Read(reader.due, (now, limit), limit)
        )
        return found

    async def counts(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        """Counts that are not 0 whose name has this prefix and sorts behind ``after``."""
        found: list[tuple[str, int]] = await self._read(
            Read(reader.counts, (prefix, after, limit), limit)
        )
        return found

    async def log(self, after: int | None, limit: int) -> Log:
        """At most ``limit`` log entries behind the cursor; None reads no entries."""
        found: Log = await self._store.read(Read(reader.log, (after, limit), limit))
        return found

    async def trim(self, before: float) -> None:
        """Drop log entries written before this wall time; the newest one always stays."""
        await self._store.write(Trim(before))
