"""The exit codes of every command, in one place."""

from __future__ import annotations

from enum import IntEnum

from xqueue_core.errors import (
    ConfigError,
    InvalidResult,
    InvalidTask,
    NoDatabase,
    PayloadTooLarge,
    ResultExpired,
    UnknownType,
    XQueueError,
)


class Code(IntEnum):
    """What a command's exit code says; ``docs/cli.md`` has the same table."""

    DONE = 0
    #: The broker or the task: it did not answer, refused, or the task did not succeed.
    ERROR = 1
    #: Wrong usage, arguments or configuration; click uses the same.
    USAGE = 2
    #: There is no such task, type, lane, worker, schedule, or no database.
    NOT_FOUND = 3
    #: What was waited for did not come in time.
    TIMEOUT = 4
    #: The task's state does not allow it: it has ended already, or has not ended yet.
    STATE = 5
    #: A worker has found no broker at its start (EX_UNAVAILABLE).
    NO_BROKER = 69
    #: A worker process that must be replaced; its supervisor does so.
    REPLACE = 75
    #: Ctrl-C.
    INTERRUPTED = 130


class NotFound(XQueueError):
    """What was named is not there."""


class WrongState(XQueueError):
    """The state does not allow it."""


class NoBroker(XQueueError):
    """No broker answered at a worker's start."""


_CODES: tuple[tuple[type[BaseException], Code], ...] = (
    (NotFound, Code.NOT_FOUND),
    (NoDatabase, Code.NOT_FOUND),
    (ResultExpired, Code.NOT_FOUND),
    (UnknownType, Code.NOT_FOUND),
    (WrongState, Code.STATE),
    (NoBroker, Code.NO_BROKER),
    (ConfigError, Code.USAGE),
    (InvalidResult, Code.ERROR),
    (InvalidTask, Code.USAGE),
    (PayloadTooLarge, Code.USAGE),
    (TimeoutError, Code.TIMEOUT),
    (KeyboardInterrupt, Code.INTERRUPTED),
)


def code_of(error: BaseException) -> Code:
    """The exit code that tells of this error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Code.ERROR)
