"""What a waiting caller is told of a task that failed, or that has not ended in time."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from xqueue_core.client.still import UNTIL
from xqueue_core.errors import TaskCanceled, TaskFailed, TaskTimedOut, XQueueError
from xqueue_core.task import Failure, State
from xqueue_core.views import TaskInfo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from xqueue_core.client.session import Session
    from xqueue_core.connect import Connection

    class HasId(Protocol):
        """A handle."""

        @property
        def id(self) -> str: ...


#: Longest look, after a wait has timed out, at what the task waits for (seconds).
LOOK = 0.5


def longest(timeout: object) -> float | None:
    """How long a wait may take (seconds); None for ever.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN.
    """
    if timeout is None:
        return None
    if isinstance(timeout, timedelta):
        seconds = timeout.total_seconds()
        raise TypeError(f"timeout is a number of seconds or None: write timeout={seconds:g}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(
            f"timeout is a number of seconds, such as timeout=30, or None, not {timeout!r}"
        )
    if math.isnan(timeout):
        raise ValueError("timeout is a number of seconds, or None to wait for ever, not NaN")
    return float(timeout)


def ending(info: TaskInfo) -> Exception:
    """The error for a task that did not end in success."""
    failure = info.failure
    why = _told(failure) or info.reason
    tail = f": {why}" if why else ""
    error: Exception
    if info.state is State.CANCELED:
        return TaskCanceled(f"task {info.id} was canceled{tail}", info.id)
    if info.state is State.TIMEOUT:
        error = TaskTimedOut(f"task {info.id} took too long{tail}", info.id)
    else:
        error = TaskFailed(
            f"task {info.id} failed{tail}{_attempts(info)}",
            info.id,
            reason=(failure.reason if failure else "") or info.reason,
            error_type=failure.type if failure else "",
            traceback=failure.traceback if failure else "",
        )
    if failure is not None and failure.traceback:
        error.add_note(f"in the worker:\n{failure.traceback.rstrip()}")
    return error


def _told(failure: Failure | None) -> str:
    """Type and message, as Python would print them: the message of a KeyError is just a key."""
    if failure is None:
        return ""
    type_ = failure.type.removeprefix("builtins.") if failure.reason == "exception" else ""
    return ": ".join(part for part in (type_, failure.message) if part)


def _attempts(info: TaskInfo) -> str:
    if info.task is None or info.attempt < 1:
        return ""
    return f" (attempt {info.attempt} of {info.task.max_retry + 1})"


async def those(session: Session, handles: Sequence[HasId], timeout: float | None) -> str:
    """What to say of some that have not ended in time: of the first of them all there is."""
    first = await unfinished(session, handles[0].id, timeout)
    if len(handles) == 1:
        return first
    return f"{len(handles)} tasks have not ended within {timeout} s; {first}"


async def unfinished(session: Session, id: str, timeout: float | None) -> str:
    """What to say of a task that has not ended in time: its state, and whether anybody serves it.

    Takes ``LOOK`` at most; a broker that does not answer leaves it at the bare fact.
    """
    text = f"task {id} has not ended within {timeout} s"
    with suppress(TimeoutError, XQueueError):
        async with asyncio.timeout(LOOK):
            info = await session.watcher.find(id)
            if info is not None:
                text += f": it is {info.state.value}{_attempts(info)}"
                text += await session.call(_Served(info.lane))
    return text


class _Served:
    """Asks a connection whether a live worker serves a lane."""

    def __init__(self, lane: str) -> None:
        self._lane = lane

    async def __call__(self, connection: Connection) -> str:
        """What to say if none does; "" if one does."""
        if connection.idle is not None and connection.idle() is not None:
            return f", and {UNTIL}"
        workers = await connection.faces.needed("view").workers()
        if any(one.alive and self._lane in one.beat.lanes for one in workers):
            return ""
        return f", and no live worker serves its lane {self._lane!r} on {connection.where}"
