"""What SQLite's errors mean to XQueue."""

from __future__ import annotations

import errno
import sqlite3
from enum import Enum

from xqueue_core.errors import ConfigError, Refused, Unavailable, Unknown, XQueueError


class Doing(Enum):
    """What was under way when SQLite failed."""

    OPEN = "open"
    CALL = "call"  # a read, or a write that was not committed: nothing has changed
    COMMIT = "commit"


_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_LACKING = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN}
# What may pass by itself, or by making room, without any change to the configuration.
_EXHAUSTED = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, or 0 where there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: BaseException) -> bool:
    """True if another connection is in the way, and waiting may help."""
    return isinstance(error, sqlite3.Error) and code(error) in _BUSY


def failure(error: sqlite3.Error, path: str, doing: Doing) -> XQueueError:
    """The typed error to raise in place of SQLite's; it names the file and a remedy."""
    found = _failure(code(error), f"{path}: {error}", doing)
    found.__cause__ = error
    return found


def system_failure(error: OSError, what: str) -> XQueueError:
    """The typed error for one of the operating system, met while opening."""
    kind = Unavailable if error.errno in _EXHAUSTED else ConfigError
    found = kind(f"{what}: {error.strerror or error}")
    found.__cause__ = error
    return found


def _failure(primary: int, what: str, doing: Doing) -> XQueueError:
    wrong = ConfigError if doing is Doing.OPEN else Refused
    if primary in _BUSY:
        return Unavailable(
            f"{what}. Another process holds the file: end what keeps a transaction open in it "
            "(a shell, a backup, a stopped process), or raise sqlite.busy_timeout"
        )
    if primary == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"{what}. Nothing was changed: free space on the disk, or raise max_pages if it is set"
        )
    if primary in _DAMAGED:
        return wrong(
            f"{what}. The file is no SQLite database, or damaged: put it aside, then restore a "
            "backup or rescue it with `sqlite3 FILE .recover`, or name another file"
        )
    if primary in _FORBIDDEN:
        return wrong(
            f"{what}. The file, its -wal and -shm files and their folder must be writable for "
            "this user"
        )
    if primary in _LACKING:
        # A commit that failed half-way may be found complete when the file is opened again.
        hint = "Check the disk, the folder, and the limits on memory and open files"
        return (Unknown if doing is Doing.COMMIT else Unavailable)(f"{what}. {hint}")
    return (Unknown if doing is Doing.COMMIT else Refused)(what)
