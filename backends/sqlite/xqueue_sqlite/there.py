"""Whether a file holds XQueue's tables, found out without leaving a trace in it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from contextlib import closing
from urllib.parse import quote

from xqueue_core.errors import NoDatabase
from xqueue_sqlite.connection import Patience
from xqueue_sqlite.failures import Doing, failure
from xqueue_sqlite.statements import Statements

#: Names of others' tables that a message lists.
_LISTED = 3


def check_there(path: str, statements: Statements, patience: Patience) -> None:
    """See that the file holds the tables of the statements' namespace.

    A file of somebody else's stays as it is: its bytes, its journal's mode, what lies beside it.

    Raises:
        NoDatabase: there is no file, it holds nothing of XQueue, or another namespace alone.
        ConfigError: it is no SQLite database.
        Unavailable: another process holds it.
    """
    if not os.path.exists(path):
        raise NoDatabase(f"there is no database {path}")
    try:
        found = patience.attempt(lambda: _tables(path, statements.tables))
    except sqlite3.Error as error:
        raise failure(error, path, Doing.OPEN) from error
    if set(statements.tables) <= found:
        return
    name = statements.namespace
    hint = "name another file, or let a worker or a submit make its tables in this one"
    if not found:
        raise NoDatabase(f"{path} is empty, it holds no XQueue: {hint}")
    if "xq_schema" in found:
        raise NoDatabase(f"{path} holds an XQueue, but none of the namespace {name!r}: {hint}")
    some = ", ".join(sorted(found)[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
    raise NoDatabase(f"{path} holds no XQueue, but the tables {some}: {hint}")


def _tables(path: str, wanted: Collection[str]) -> set[str]:
    # Without a write-ahead log all there is lies in the file itself. Then no lock is needed to
    # read it, and `immutable` makes no files beside it, which nobody would remove.
    log = f"{path}-wal"
    if not os.path.exists(log):
        try:
            found = _read(path, "immutable=1")
        except sqlite3.Error:
            if not os.path.exists(log):
                raise
        else:
            if found.issuperset(wanted) or not os.path.exists(log):
                return found
        # Somebody has opened it meanwhile, to make tables perhaps.
    return _read(path, "mode=ro")


def _read(path: str, how: str) -> set[str]:
    uri = f"file:{quote(path)}?{how}"
    # Patience waits, not SQLite.
    with closing(sqlite3.connect(uri, uri=True, timeout=0.0, isolation_level=None)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {str(name) for (name,) in names}
