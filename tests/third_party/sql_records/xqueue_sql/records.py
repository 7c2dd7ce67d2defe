"""``Records`` over a SQL database: the example of ``docs/writing-a-backend.md``."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TypeVar

import msgspec

from xqueue_core.errors import Refused, Unavailable, Unknown
from xqueue_core.stored import Records
from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.records import ANY, Group, Log, Now, Row, Scan

T = TypeVar("T")

TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS xq_rows (key TEXT PRIMARY KEY, version INTEGER NOT NULL,
    body BLOB NOT NULL, bucket TEXT NOT NULL, ord INTEGER NOT NULL, alarm REAL);
CREATE INDEX IF NOT EXISTS xq_scan ON xq_rows (bucket, ord, key);
CREATE INDEX IF NOT EXISTS xq_due ON xq_rows (alarm);
CREATE TABLE IF NOT EXISTS xq_counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS xq_log (cursor INTEGER PRIMARY KEY, wall REAL, events BLOB);
CREATE TABLE IF NOT EXISTS xq_last (cursor INTEGER NOT NULL);
INSERT INTO xq_last SELECT 0 WHERE NOT EXISTS (SELECT * FROM xq_last);
"""
ROW = "SELECT key, version, body, bucket, ord FROM xq_rows"
INSERT = "INSERT INTO xq_rows VALUES (?, ?, ?, ?, ?, ?)"
LOAD = f"{ROW} WHERE key = ?"
AFTER = "bucket = ? AND bucket <> '' AND (ord > ? OR ord = ? AND key > ?)"
SCAN = f"{ROW} WHERE {AFTER} ORDER BY ord, key LIMIT ?"
DUE = f"{ROW} WHERE alarm <= ? ORDER BY alarm, key LIMIT ?"
COMING = "SELECT MIN(alarm) FROM xq_rows WHERE alarm > ?"
COUNTS = "SELECT * FROM xq_counts WHERE name >= ? AND name > ? AND value <> 0 ORDER BY name LIMIT ?"
COUNT = "UPDATE xq_counts SET value = value + ? WHERE name = ?"
LOG = "SELECT cursor, events FROM xq_log WHERE cursor > ? ORDER BY cursor LIMIT ?"
APPEND = "INSERT INTO xq_log SELECT cursor, ?, ? FROM xq_last"
FIRST = "SELECT MIN(cursor) FROM xq_log"
KEPT = f"COALESCE(({FIRST} WHERE wall >= ?), (SELECT cursor FROM xq_last))"
TRIM = f"DELETE FROM xq_log WHERE cursor < {KEPT}"


class SqlRecords(Records):
    """One connection; each call is a transaction in a thread of asyncio's pool."""

    def __init__(self, path: str, clock: Clock = host_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(TABLES)

    async def now(self) -> Now:
        return self._clock()

    async def load(self, keys: Sequence[str]) -> list[Row | None]:
        found = await self._do(lambda: [self._rows(LOAD, key) for key in keys])
        return [rows[0] if rows else None for rows in found]

    async def swap(self, groups: Sequence[Group]) -> list[bool]:
        def work() -> list[bool]:
            # Locks the row until the commit, so that cursors become visible in order.
            self._run("UPDATE xq_last SET cursor = cursor")
            events: list[bytes] = []
            verdicts = [self._apply(group, events) for group in groups]
            if events:
                self._run("UPDATE xq_last SET cursor = cursor + 1")
                self._run(APPEND, self._clock().wall, msgspec.msgpack.encode(events))
            return verdicts

        return await self._do(work, "BEGIN IMMEDIATE")

    async def scan(self, scans: Sequence[Scan]) -> list[list[Row]]:
        return await self._do(lambda: [self._rows(SCAN, b, o, o, k, n) for b, n, (o, k) in scans])

    async def due(self, limit: int) -> tuple[list[Row], float | None]:
        wall = self._clock().wall
        rows, [coming] = await self._do(
            lambda: (self._rows(DUE, wall, limit), self._run(COMING, wall).fetchone())
        )
        return rows, coming

    async def counts(self, prefix: str, after: str, limit: int) -> list[tuple[str, int]]:
        found = await self._do(lambda: self._run(COUNTS, prefix, after, limit).fetchall())
        return list(takewhile(lambda row: row[0].startswith(prefix), found))

    async def log(self, after: int | None, limit: int) -> Log:
        def work() -> Log:
            last, first = self._run(f"SELECT cursor, ({FIRST}) FROM xq_last").fetchone()
            rows = [] if after is None else self._run(LOG, after, limit).fetchall()
            entries = [(cursor, msgspec.msgpack.decode(events)) for cursor, events in rows]
            return Log(entries, first or last + 1, last)

        return await self._do(work)

    async def trim(self, before: float) -> None:
        await self._do(lambda: self._run(TRIM, before), "BEGIN IMMEDIATE")

    def _run(self, query: str, *values: object) -> sqlite3.Cursor:
        return self._db.execute(query, values)

    def _rows(self, query: str, *values: object) -> list[Row]:
        return [Row(*row) for row in self._run(query, *values)]

    def _apply(self, group: Group, events: list[bytes]) -> bool:
        found = [self._rows(LOAD, change.key) for change in group.changes]
        versions = [rows[0].version if rows else 0 for rows in found]
        pairs = list(zip(group.changes, versions, strict=True))
        if not all(change.expected in (ANY, version) for change, version in pairs):
            return False
        for (key, _, body, *places), version in pairs:
            self._run("DELETE FROM xq_rows WHERE key = ? AND version = ?", key, version)
            if body is not None:
                self._run(INSERT, key, (version or time.time_ns()) + 1, body, *places)
        for name, delta in group.counts.items():
            if not self._run(COUNT, delta, name).rowcount:
                self._run("INSERT INTO xq_counts VALUES (?, ?)", name, delta)
        events += group.events
        return True

    async def _do(self, work: Callable[[], T], begin: str = "BEGIN") -> T:
        return await asyncio.to_thread(self._transact, work, begin)

    def _transact(self, work: Callable[[], T], begin: str) -> T:
        with self._lock:
            error: type[Unavailable | Unknown] = Unavailable
            try:
                with self._db:  # commits, or rolls back
                    self._db.execute(begin)
                    answer = work()
                    error = Unknown  # if the commit itself fails
                return answer
            except sqlite3.OperationalError as problem:  # locked, the disk is full, ...
                raise error(str(problem)) from problem
            except sqlite3.Error as problem:
                raise Refused(str(problem)) from problem

    def close(self) -> None:
        with self._lock:
            self._db.close()
