"""Every SQL statement, for one namespace.

A call to SQLite gives up the interpreter's lock and must win it back, which takes up to 5 ms
while another thread computes. So whatever a call of ``Records`` does takes a handful of steps,
however many rows it touches: many rows are written by one statement, and many are read as one
row, whose columns are a JSON list of (number of the scan, key, version, bucket, order, length)
and all bodies in one piece.
"""

# The only names put into a text are those of tables, made from a namespace that was checked.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Callable
from functools import cache

#: Version of the tables below. A file with a higher one is refused.
SCHEMA = 1

#: Numbers of rows a statement is made for; what is left over is filled up with NULL.
SIZES = (1, 4, 16, 64, 128, 256)
#: The same for scans.
SCAN_SIZES = (1, 4, 16)

_PACKED = (
    "SELECT json_group_array(json_array({number}, key, version, bucket, ord, length(body))),"
    " CAST(group_concat(CAST(body AS TEXT), '') AS BLOB) FROM ({rows})"
)

_OUTLINED = "SELECT json_group_array(json_array(number, key, version, bucket, ord)) FROM ({rows})"


def fitting(count: int, sizes: tuple[int, ...]) -> int:
    """The least size that holds this many, else the greatest."""
    return next((size for size in sizes if size >= count), sizes[-1])


class Statements:
    """The statements of a namespace. Those made for a number of rows are made once each.

    Args:
        namespace: 1 to 32 of ``a-z``, ``0-9`` and ``-``.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        prefix = "xq_" + namespace.replace("-", "_")
        rows, counts, log = f"{prefix}_rows", f"{prefix}_counts", f"{prefix}_log"
        self._rows, self._counts, self._log = rows, counts, log
        self.tables = ("xq_schema", rows, counts, log)
        # WITHOUT ROWID: the row lies in the tree of its key, one tree less to keep.
        self.create = (
            f"CREATE TABLE IF NOT EXISTS {rows} (key TEXT PRIMARY KEY, version INTEGER NOT NULL,"
            " bucket TEXT NOT NULL, ord INTEGER NOT NULL, alarm REAL, body BLOB NOT NULL)"
            " WITHOUT ROWID",
            # With the version, so that an outline reads nothing else: to find a row in its tree,
            # SQLite reads the whole bodies of those it passes.
            f"CREATE INDEX IF NOT EXISTS {prefix}_places ON {rows} (bucket, ord, key, version)"
            " WHERE bucket <> ''",
            f"DROP INDEX IF EXISTS {prefix}_scan",  # its like without the version, of before
            f"CREATE INDEX IF NOT EXISTS {prefix}_due ON {rows} (alarm) WHERE alarm IS NOT NULL",
            f"CREATE TABLE IF NOT EXISTS {counts} (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
            " WITHOUT ROWID",
            f"CREATE TABLE IF NOT EXISTS {log} (cursor INTEGER PRIMARY KEY, wall REAL NOT NULL,"
            " events BLOB NOT NULL)",
        )
        due = f"SELECT * FROM {rows} WHERE alarm <= ?1 ORDER BY alarm, key LIMIT ?2"
        self.due = _PACKED.format(number=0, rows=due)
        self.next_alarm = f"SELECT min(alarm) FROM {rows} WHERE alarm > ?"
        # value <> 0: a count that became 0 stays until the log is trimmed.
        self.counts = (
            "SELECT json_group_array(json_array(name, value)) FROM (SELECT name, value FROM"
            f" {counts} WHERE name >= ? AND name > ? AND value <> 0 ORDER BY name LIMIT ?)"
        )
        self.drop_zeros = f"DELETE FROM {counts} WHERE value = 0"
        self.log = (
            f"SELECT (SELECT min(cursor) FROM {log}), (SELECT max(cursor) FROM {log}),"
            " json_group_array(json_array(cursor, length(events))),"
            " CAST(group_concat(CAST(events AS TEXT), '') AS BLOB)"
            f" FROM (SELECT * FROM {log} WHERE cursor > ? ORDER BY cursor LIMIT ?)"
        )
        self.append = f"INSERT INTO {log} (wall, events) VALUES (?, ?)"
        # The newest entry always stays: the next cursor is the highest one and 1.
        self.oldest = (
            "SELECT count(*), max(cursor), min(cursor) FILTER (WHERE wall >= ?) FROM"
            f" (SELECT cursor, wall FROM {log} WHERE cursor < (SELECT max(cursor) FROM {log})"
            " ORDER BY cursor LIMIT ?)"
        )
        self.cut = f"DELETE FROM {log} WHERE cursor < ?"
        self.load = cache(self._load)
        self.scan: Callable[[int], str] = cache(self._scan)
        self.outline: Callable[[int], str] = cache(self._outline)
        self.versions = cache(self._versions)
        self.remove = cache(self._remove)
        self.write = cache(self._write)
        self.count = cache(self._count)

    def _load(self, size: int) -> str:
        rows = f"SELECT * FROM {self._rows} WHERE key IN ({_marks(size)})"
        return _PACKED.format(number=0, rows=rows)

    def _scan(self, size: int) -> str:
        return _PACKED.format(number="number", rows=self._scanned(size, "*"))

    def _outline(self, size: int) -> str:
        return _OUTLINED.format(rows=self._scanned(size, "key, version, bucket, ord"))

    def _scanned(self, size: int, columns: str) -> str:
        one = (
            "SELECT * FROM (SELECT {number} AS number, {columns} FROM {rows} WHERE bucket = ?"
            " AND bucket <> '' AND (ord, key) > (?, ?) ORDER BY ord, key LIMIT ?)"
        )
        return " UNION ALL ".join(
            one.format(number=number, columns=columns, rows=self._rows) for number in range(size)
        )

    def _versions(self, size: int) -> str:
        found = f"SELECT key, version FROM {self._rows} WHERE key IN ({_marks(size)})"
        return f"SELECT json_group_array(json_array(key, version)) FROM ({found})"

    def _remove(self, size: int) -> str:
        return f"DELETE FROM {self._rows} WHERE key IN ({_marks(size)})"

    def _write(self, size: int) -> str:
        return (
            f"INSERT INTO {self._rows} (key, version, bucket, ord, alarm, body)"
            f" SELECT * FROM (VALUES {_marks(size, 6)}) WHERE column1 IS NOT NULL"
            " ON CONFLICT (key) DO UPDATE SET version = excluded.version,"
            " bucket = excluded.bucket, ord = excluded.ord, alarm = excluded.alarm,"
            " body = excluded.body"
        )

    def _count(self, size: int) -> str:
        return (
            f"INSERT INTO {self._counts} (name, value)"
            f" SELECT * FROM (VALUES {_marks(size, 2)}) WHERE column1 IS NOT NULL"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
        )


def _marks(count: int, width: int = 0) -> str:
    one = f"({', '.join(['?'] * width)})" if width else "?"
    return ", ".join([one] * count)
