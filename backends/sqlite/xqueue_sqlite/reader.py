"""The readers of an open file, each with a connection of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from xqueue_core.errors import Refused
from xqueue_core.stored.records import Log, Row, Scan
from xqueue_sqlite.connection import translated
from xqueue_sqlite.failures import Doing
from xqueue_sqlite.forking import quiet
from xqueue_sqlite.link import Link
from xqueue_sqlite.place import Identity
from xqueue_sqlite.statements import SCAN_SIZES, SIZES, Statements, fitting

_rows = msgspec.json.Decoder(list[tuple[int, str, int, str, int, int]])
_outlines = msgspec.json.Decoder(list[tuple[int, str, int, str, int]])
_counts = msgspec.json.Decoder(list[tuple[str, int]])
_entries = msgspec.json.Decoder(list[tuple[int, int]])
_events = msgspec.msgpack.Decoder(list[bytes])


class Read(NamedTuple):
    """Work: a call of one of the functions below.

    Attributes:
        weight: how many rows it finds at most.
    """

    query: Callable[..., Any]
    values: tuple[Any, ...]
    weight: int


class Reader:
    """Serves reads in one thread: its desk's, or that of an event loop."""

    def __init__(self, link: Link, identity: Identity, statements: Statements) -> None:
        self._link = link
        self._identity = identity
        self._statements = statements

    def close(self) -> None:
        """Disconnect."""
        with quiet:
            self._link.close()

    def serve(self, works: Sequence[Read]) -> Sequence[Any]:
        """What each read found, or the exception to raise."""
        return [self._serve(work) for work in works]

    def read(self, work: Read) -> Any:
        """What a read found. Raises what SQLite raises."""
        self._identity.check()
        with quiet:
            return work.query(self._link.connection, self._statements, *work.values)

    def _serve(self, work: Read) -> Any:
        try:
            return self.read(work)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            return translated(error, self._identity.path, Doing.CALL)


def load(
    connection: sqlite3.Connection, statements: Statements, keys: Sequence[str]
) -> list[Row | None]:
    """The rows with these keys."""
    found: dict[str, Row] = {}
    distinct = list(dict.fromkeys(keys))
    while distinct:
        size = fitting(len(distinct), SIZES)
        values: list[str | None] = [*distinct[:size]]
        del distinct[:size]
        values += [None] * (size - len(values))
        found.update((row.key, row) for _, row in _read(connection, statements.load(size), values))
    return [found.get(key) for key in keys]


def scan(
    connection: sqlite3.Connection, statements: Statements, scans: Sequence[Scan]
) -> list[list[Row]]:
    """The rows of each scan."""
    found: list[list[Row]] = [[] for _ in scans]
    for start, size, values in _batches(scans):
        for number, row in _read(connection, statements.scan(size), values):
            found[start + number].append(row)
    return found


def outline(
    connection: sqlite3.Connection, statements: Statements, scans: Sequence[Scan]
) -> list[list[Row]]:
    """The rows of each scan, without their bodies."""
    found: list[list[Row]] = [[] for _ in scans]
    for start, size, values in _batches(scans):
        packed = connection.execute(statements.outline(size), values).fetchone()[0]
        for number, key, version, bucket, order in _outlines.decode(packed):
            found[start + number].append(Row(key, version, b"", bucket, order))
    return found


def _batches(scans: Sequence[Scan]) -> Iterator[tuple[int, int, list[Any]]]:
    """The scans in parts of a size that a statement has: the first, the size, the values."""
    start = 0
    while start < len(scans):
        size = fitting(len(scans) - start, SCAN_SIZES)
        some = scans[start : start + size]
        values: list[Any] = []
        for bucket, limit, (order, key) in some:
            values += (bucket, order, key, limit)
        values += (None, 0, "", 0) * (size - len(some))
        yield start, size, values
        start += size


def due(
    connection: sqlite3.Connection, statements: Statements, now: float, limit: int
) -> tuple[list[Row], float | None]:
    """The rows whose alarm is at or before ``now``, and the first alarm behind it."""
    rows = [row for _, row in _read(connection, statements.due, (now, limit))]
    coming: float | None = connection.execute(statements.next_alarm, (now,)).fetchone()[0]
    return rows, coming


def counts(
    connection: sqlite3.Connection, statements: Statements, prefix: str, after: str, limit: int
) -> list[tuple[str, int]]:
    """The counts with this prefix behind ``after``."""
    packed = connection.execute(statements.counts, (prefix, after, limit)).fetchone()[0]
    # Names with one prefix lie together: the first without it ends them.
    return [item for item in _counts.decode(packed) if item[0].startswith(prefix)]


def log(
    connection: sqlite3.Connection, statements: Statements, after: int | None, limit: int
) -> Log:
    """The log's entries behind ``after``."""
    values = (0, 0) if after is None else (after, limit)
    first, last, packed, bodies = connection.execute(statements.log, values).fetchone()
    if last is None:
        return Log([], 1, 0)
    lengths = _entries.decode(packed)
    pieces = _pieces(bodies, [length for _, length in lengths])
    entries = [
        (cursor, _events.decode(piece)) for (cursor, _), piece in zip(lengths, pieces, strict=True)
    ]
    return Log(entries, first, last)


def _read(
    connection: sqlite3.Connection, sql: str, values: Sequence[Any]
) -> Iterator[tuple[int, Row]]:
    """The rows of a query that packs them, each with the number of its scan."""
    packed, bodies = connection.execute(sql, values).fetchone()
    found = _rows.decode(packed)
    pieces = _pieces(bodies, [item[5] for item in found])
    for (number, key, version, bucket, order, _), piece in zip(found, pieces, strict=True):
        yield number, Row(key, version, piece, bucket, order)


def _pieces(joined: bytes | None, lengths: Sequence[int]) -> Iterator[bytes]:
    whole = joined or b""
    if len(whole) != sum(lengths):
        raise Refused("SQLite joined bodies in a way that cannot be taken apart; please report it")
    start = 0
    for length in lengths:
        yield whole[start : start + length]
        start += length
