"""Connections to one file."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from xqueue_core.errors import ConfigError, XQueueError
from xqueue_sqlite.failures import Doing, failure, is_busy
from xqueue_sqlite.statements import SCHEMA, Statements

T = TypeVar("T")

#: Pages in the write-ahead log from which on a commit copies it into the database.
_CHECKPOINT_PAGES = 1_000
#: Bytes that the write-ahead log's file is cut back to once it starts afresh.
_WAL_KEPT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """How a file is opened.

    Attributes:
        namespace: prefix of the tables.
        durability: ``process`` or ``power``.
        busy_timeout: seconds to wait for another process's transaction.
        max_pages: most pages of 4 KiB the file may have; None for no limit.
        make: the file and its tables are made if they are not there.
    """

    namespace: str = "xqueue"
    durability: str = "process"
    busy_timeout: float = 5.0
    max_pages: int | None = None
    make: bool = True


class Patience:
    """Waits while another connection is in the way.

    SQLite's own wait grows to 100 ms at a time; a writer here is done within a few.

    Args:
        seconds: longest wait.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ended = threading.Event()

    def end(self) -> None:
        """Wait no more, from now on; from any thread."""
        self._ended.set()

    def attempt(self, action: Callable[[], T]) -> T:
        """Repeat the action until nobody is in its way, or the wait is over."""
        end = time.monotonic() + self._seconds
        pause = 0.000_05
        while True:
            try:
                return action()
            except sqlite3.Error as error:
                if not is_busy(error) or time.monotonic() >= end:
                    raise
                if self._ended.wait(pause * random.uniform(0.5, 1.0)):
                    raise
            pause = min(pause * 1.5, 0.002)


def connect(
    path: str, options: FileOptions, patience: Patience, *, reading: bool = False
) -> sqlite3.Connection:
    """A connection of the kind every desk uses.

    A writing one never waits within SQLite: that is left to ``patience``.

    Raises:
        ConfigError: the file cannot be used.
        Unavailable: another process holds it.
    """
    try:
        connection = sqlite3.connect(
            path,
            timeout=options.busy_timeout if reading else 0.0,
            isolation_level=None,
            # Made and used in one thread, but a forked child keeps it in another.
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            for pragma in _pragmas(options, reading):
                # Some of them read the file, which a process that starts may be mending.
                patience.attempt(partial(connection.execute, f"PRAGMA {pragma}"))
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise failure(error, path, Doing.OPEN) from error
    return connection


def _pragmas(options: FileOptions, reading: bool) -> Iterator[str]:
    yield "cache_size = -16000"  # KiB
    yield "temp_store = MEMORY"
    yield "trusted_schema = OFF"
    if reading:
        yield "query_only = ON"
        return
    if options.durability == "power":
        yield "synchronous = FULL"
        yield "fullfsync = ON"  # macOS: a plain fsync leaves data in the drive's memory
    else:
        yield "synchronous = NORMAL"
    yield f"wal_autocheckpoint = {_CHECKPOINT_PAGES}"
    yield f"journal_size_limit = {_WAL_KEPT}"
    if options.max_pages is not None:
        yield f"max_page_count = {int(options.max_pages)}"


def prepare_tables(
    connection: sqlite3.Connection,
    path: str,
    statements: Statements,
    patience: Patience,
    *,
    make: bool = True,
) -> None:
    """Switch to a write-ahead log and make the tables, unless they are there.

    Without ``make`` they are known to be there, and no transaction is begun, which another
    process's might hold up.

    Raises:
        ConfigError: the file cannot hold them.
        Unavailable: another process holds the file.
    """
    try:
        mode = patience.attempt(lambda: one(connection, "PRAGMA journal_mode = WAL"))
        if mode != "wal":
            raise ConfigError(f"{path}: this file system cannot hold SQLite's write-ahead log")
        if one(connection, "PRAGMA encoding") != "UTF-8":
            raise ConfigError(f"{path}: its encoding is not UTF-8; name another file")
        if not make:
            patience.attempt(lambda: _check_version(connection, path))
            return
        begin(connection, patience)
        try:
            _migrate(connection, path, statements)
            connection.execute("COMMIT")
        finally:
            roll_back(connection)
    except sqlite3.Error as error:
        raise failure(error, path, Doing.OPEN) from error


def _migrate(connection: sqlite3.Connection, path: str, statements: Statements) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS xq_schema (version INTEGER NOT NULL)")
    if _check_version(connection, path) is None:
        connection.execute("INSERT INTO xq_schema VALUES (?)", (SCHEMA,))
    for statement in statements.create:
        connection.execute(statement)


def _check_version(connection: sqlite3.Connection, path: str) -> int | None:
    """The version of the tables, if one is recorded. Raises ConfigError if it is a newer one."""
    found: int | None = one(connection, "SELECT max(version) FROM xq_schema")
    if found is not None and found > SCHEMA:
        raise ConfigError(
            f"{path} was written by a newer XQueue (schema {found}; this one knows {SCHEMA}); "
            "upgrade xqueue-core, or name another file"
        )
    return found


def one(connection: sqlite3.Connection, sql: str, values: Sequence[Any] = ()) -> Any:
    """The only column of the only row."""
    return connection.execute(sql, values).fetchone()[0]


def begin(connection: sqlite3.Connection, patience: Patience) -> None:
    """Start a transaction that may write."""
    roll_back(connection)  # of one that could not be ended
    patience.attempt(lambda: connection.execute("BEGIN IMMEDIATE"))


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction under way, if any: SQLite undoes some by itself."""
    if connection.in_transaction:
        # What made it necessary says more than its own failure.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def translated(error: Exception, path: str, doing: Doing) -> Exception:
    """What to raise for an error; one that is not SQLite's stays as it is."""
    if isinstance(error, sqlite3.Error) and not isinstance(error, XQueueError):
        return failure(error, path, doing)
    return error


def wal_size(path: str) -> int:
    """Bytes of the write-ahead log."""
    try:
        return os.stat(path + "-wal").st_size
    except OSError:
        return 0
