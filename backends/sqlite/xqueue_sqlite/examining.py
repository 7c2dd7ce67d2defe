"""What ``xqueue doctor`` finds out about a database before anything opens it for good."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from xqueue_core.errors import ConfigError, Unavailable, XQueueError
from xqueue_core.findings import Finding, Level
from xqueue_sqlite.connection import Patience, begin, connect, one, roll_back, wal_size
from xqueue_sqlite.failures import Doing, failure
from xqueue_sqlite.forking import quiet
from xqueue_sqlite.place import allowed, filesystem, is_network, located
from xqueue_sqlite.statements import SCHEMA

if TYPE_CHECKING:
    from xqueue_sqlite.settings import SqliteSettings

#: The oldest version of SQLite that has every statement in use.
OLDEST = (3, 35, 0)
#: Free bytes of the disk below which it is worth a note, and below which nothing can be written.
LITTLE, NOTHING = 256 << 20, 16 << 20
#: Bytes of the write-ahead log from which on something keeps it from being copied.
LONG_LOG = 64 << 20
#: Seconds of ``busy_timeout`` below which a backup or a checkpoint can make calls fail.
SHORT = 1.0
#: Files beside the database, by the end of their names.
BESIDE = ("-wal", "-shm", "-bell")
#: File systems that are gone after a restart of the host.
PASSING = ("tmpfs", "ramfs")


def place(settings: SqliteSettings, mounts: Path, _: float) -> list[Finding]:
    """Where the database lies, and whether it can: looks at the file system alone."""
    kind = filesystem(os.path.realpath(settings.path), mounts)
    try:
        path = located(settings.path, mounts)
    except ConfigError as error:
        what, _semicolon, advice = str(error).rpartition("; ")
        check = "file system" if is_network(kind) else "file"
        return [Finding(check, Level.ERROR, what or str(error), advice if what else "")]
    found = [_file_system(kind, settings.durability), _disk(path)]
    if not os.path.exists(path):
        advice = "the first submit or worker makes it; where it is elsewhere, say so by --url"
        return [Finding("file", Level.WARNING, f"{path}: not there yet", advice), *found]
    return [Finding("file", Level.OK, path), *found, *_beside(path), _users(path)]


def contents(settings: SqliteSettings, mounts: Path, end: float) -> list[Finding]:
    """What is in the database, if there is one: opens it, and changes nothing.

    Args:
        end: when to have ended, by ``time.monotonic()``.
    """
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST:
        advice = "install a Python that brings a newer one"
        return [Finding("sqlite", Level.ERROR, f"{version} is older than 3.35", advice)]
    found = [Finding("sqlite", Level.OK, version), _busy_timeout(settings.busy_timeout)]
    try:
        path = located(settings.path, mounts)
    except ConfigError:
        return found  # of which its place tells
    if not os.path.exists(path):
        return found
    try:
        patience = Patience(max(min(settings.busy_timeout, end - time.monotonic() - 1), 0.1))
        with (
            quiet,  # a child must not inherit what is open here
            closing(connect(path, settings.file_options(), patience, reading=True)) as connection,
        ):
            try:
                found += _inside(connection, settings, path, patience, end)
            except sqlite3.Error as error:
                raise failure(error, path, Doing.OPEN) from error
    except XQueueError as error:
        held = isinstance(error, Unavailable)
        found.append(_said("lock" if held else "integrity", error))
    return found


def _inside(
    connection: sqlite3.Connection,
    settings: SqliteSettings,
    path: str,
    patience: Patience,
    end: float,
) -> Iterator[Finding]:
    # A reader that nobody is in the way of needs no wait beyond this.
    connection.execute("PRAGMA busy_timeout = 100")
    yield _log(connection, path)
    yield _schema(connection, path)
    yield _room(connection, settings.max_pages)
    yield _lock(connection, path, patience)
    yield _integrity(connection, path, end)


def _said(check: str, error: XQueueError) -> Finding:
    what, _, advice = str(error).partition(". ")
    return Finding(check, Level.ERROR, what, advice)


# -- the place -------------------------------------------------------------------------------


def _file_system(kind: str, durability: str) -> Finding:
    if not kind:
        return Finding("file system", Level.OK, "its type cannot be told here")
    if kind in PASSING and durability == "power":
        advice = "name a file on a disk, or set durability to 'process'"
        detail = f"{kind} is memory, and durability is 'power': a power cut takes all"
        return Finding("file system", Level.ERROR, detail, advice)
    return Finding("file system", Level.OK, kind)


def _disk(path: str) -> Finding:
    free = shutil.disk_usage(os.path.dirname(path)).free
    detail = f"{free >> 20} MiB free"
    if free < NOTHING:
        return Finding(
            "disk", Level.ERROR, f"{detail}: it is full", "free space; no restart is due"
        )
    if free < LITTLE:
        return Finding("disk", Level.WARNING, detail, "free space before it is full")
    return Finding("disk", Level.OK, detail)


def _beside(path: str) -> Iterator[Finding]:
    """Whether this user may use the files beside it, and others may not read it."""
    files = [path, *(path + end for end in BESIDE if os.path.exists(path + end))]
    for file in files:
        if not allowed(file, os.R_OK | os.W_OK):
            advice = "stop every process that uses it, then give all its files to one user"
            yield Finding("permissions", Level.ERROR, f"{file}: this user may not write it", advice)
            return
    mode = os.stat(path).st_mode & 0o777
    if mode & 0o007:
        advice = f"chmod o= {path}, if they should not read or change tasks"
        detail = f"{path}: any user of this host may use it ({mode:o})"
        yield Finding("permissions", Level.WARNING, detail, advice)
    else:
        yield Finding("permissions", Level.OK, f"{mode:o}")


def _users(path: str) -> Finding:
    """Who has it open, and what was left behind by processes that did not close it."""
    left, users = wal_size(path), holders(path)
    if users is None:
        return Finding("leftovers", Level.OK, "who has it open cannot be told here")
    if users:
        return Finding("leftovers", Level.OK, f"none: open in {', '.join(map(str, users))}")
    if os.path.exists(path + "-journal"):
        advice = "leave it where it is: whoever opens the database next undoes the transaction"
        return Finding("leftovers", Level.WARNING, f"{path}-journal of a dead process", advice)
    if left:
        advice = "leave it where it is: it is part of the database, and taken in when it is opened"
        detail = f"{path}-wal, {left >> 10} KiB, of a process that ended without closing it"
        return Finding("leftovers", Level.WARNING, detail, advice)
    return Finding("leftovers", Level.OK, "none: nobody is seen to have it open")


def holders(path: str, processes: Path = Path("/proc")) -> list[int] | None:
    """Ids of the processes that have the file open, as far as this user may see them.

    None where the system does not tell.
    """
    if not (processes / "self").exists():
        return None
    return sorted(
        int(process.name)
        for process in processes.glob("[0-9]*")
        if any(_target(handle) == path for handle in _handles(process))
    )


def _handles(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:  # it has ended meanwhile, or is another user's
        return []


def _target(handle: Path) -> str:
    try:
        return os.readlink(handle)
    except OSError:  # it was closed meanwhile
        return ""


# -- the contents ----------------------------------------------------------------------------


def _busy_timeout(seconds: float) -> Finding:
    if seconds < SHORT:
        advice = "raise busy_timeout: the default is 5"
        detail = f"{seconds:g} s: a backup makes calls fail that would only be late"
        return Finding("busy timeout", Level.WARNING, detail, advice)
    return Finding("busy timeout", Level.OK, f"{seconds:g} s")


def _log(connection: sqlite3.Connection, path: str) -> Finding:
    mode, size = one(connection, "PRAGMA journal_mode"), wal_size(path)
    if mode != "wal":
        advice = "the next worker or submit switches; end programs that set another mode"
        return Finding("log", Level.WARNING, f"its journal mode is {mode!r}, not 'wal'", advice)
    if size > LONG_LOG:
        advice = "end what reads without an end: a shell in a transaction, a stopped process"
        detail = f"its write-ahead log has {size >> 20} MiB: something keeps it from being copied"
        return Finding("log", Level.WARNING, detail, advice)
    return Finding("log", Level.OK, f"write-ahead, {size >> 10} KiB")


def _schema(connection: sqlite3.Connection, path: str) -> Finding:
    names = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'xq_schema'"
    if not one(connection, names):
        advice = "see that the URL names the right file: whoever opens it next makes them there"
        return Finding("tables", Level.WARNING, f"{path} has no tables of XQueue", advice)
    version = one(connection, "SELECT max(version) FROM xq_schema")
    if version is not None and version > SCHEMA:
        detail = f"{path} was written by a newer XQueue: tables {version}, and not {SCHEMA}"
        return Finding("tables", Level.ERROR, detail, "upgrade xqueue-core, or name another file")
    return Finding("tables", Level.OK, f"version {version}")


def _room(connection: sqlite3.Connection, most: int | None) -> Finding:
    pages, unused = (one(connection, f"PRAGMA {name}") for name in ("page_count", "freelist_count"))
    detail = f"{pages} pages, {unused} of them free"
    if most is None:
        return Finding("size", Level.OK, detail)
    if pages - unused > 0.9 * most:
        advice = "raise max_pages, or purge tasks"
        return Finding("size", Level.WARNING, f"{detail}, of {most} at most", advice)
    return Finding("size", Level.OK, f"{detail}, of {most} at most")


def _lock(connection: sqlite3.Connection, path: str, patience: Patience) -> Finding:
    """Whether a transaction can begin. It is given up at once."""
    began = time.monotonic()
    try:
        connection.execute("PRAGMA busy_timeout = 0")  # waiting is left to `patience`
        connection.execute("PRAGMA query_only = OFF")  # it refuses the transaction as well
        begin(connection, patience)
    except sqlite3.Error as error:
        return _said("lock", failure(error, path, Doing.CALL))
    finally:
        roll_back(connection)
        connection.execute("PRAGMA query_only = ON")
    return Finding("lock", Level.OK, f"free after {(time.monotonic() - began) * 1000:.0f} ms")


def _integrity(connection: sqlite3.Connection, path: str, end: float) -> Finding:
    # Looked at every so many steps of SQLite: some tens of microseconds.
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        problems = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        advice = f"to look at all of it: sqlite3 {path} 'PRAGMA quick_check'"
        return Finding("integrity", Level.OK, "too large to look at all of it in time", advice)
    finally:
        connection.set_progress_handler(None, 0)
    if problems == ["ok"]:
        return Finding("integrity", Level.OK, "quick_check finds nothing")
    advice = "stop every process, put the file aside, and restore a backup or use .recover"
    return Finding("integrity", Level.ERROR, f"{path}: {'; '.join(problems)}", advice)
