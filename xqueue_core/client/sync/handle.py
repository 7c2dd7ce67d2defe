"""A submitted task from the side of plain code: the twin of ``Handle``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from xqueue_core.client.ending import longest
from xqueue_core.foreign import HANDLE, tells
from xqueue_core.handle import Handle, completing

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from xqueue_core.abc import Notice
    from xqueue_core.calls import Did, Edit
    from xqueue_core.task import State
    from xqueue_core.views import TaskInfo
    from xqueue_core.why import Why

R = TypeVar("R")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


@tells(HANDLE)
class SyncHandle(Generic[R_co]):
    """One task, for plain code. Any thread may use it, several at once, and a forked child.

    Every method but :attr:`id` and :attr:`duplicate` waits for the broker. Whatever interrupts
    such a wait, as KeyboardInterrupt does, ends it at once. On a running event loop of asyncio or
    trio, which would be blocked, they raise Unsupported: there use ``app.handle(id)``.

    Attributes:
        duplicate: True if the submit found a task with its id or unique key there already; the
            handle is then that task's. A repetition of its own after a lost reply is none.
    """

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle[R_co]) -> None:
        self._handle = handle

    def __repr__(self) -> str:
        return f"<SyncHandle {self.id}>"

    @property
    def id(self) -> str:
        """The task's id. It changes once if the task is found to duplicate an earlier one."""
        return self._handle.id

    @property
    def duplicate(self) -> bool:
        """True if it is the handle of a task that was there already."""
        return self._handle.duplicate

    def result(self, timeout: float | None = None) -> R_co:
        """Wait until the task has ended, and return what its handler returned.

        Args:
            timeout: longest wait (seconds); None waits for ever. An outage of the broker only
                makes the wait longer, unless it is there from the beginning.

        Raises:
            TaskFailed: the task failed, with reason, type of exception and traceback; a note
                shows the traceback.
            TaskCanceled: it was canceled.
            TaskTimedOut: it waited or ran too long.
            ResultExpired: neither task nor result is kept any more, or there never was one.
            InvalidResult: the result does not fit the handler's return annotation.
            NothingRuns: within ``app.testing()``: the task has not run, and nothing runs it.
            Unsupported: the broker keeps no results, or cannot be asked for tasks.
            TimeoutError: the task has not ended in time; the message gives its state, and says so
                if no live worker serves its lane. Finding that out takes 0.5 s at most.
            TypeError, ValueError: ``timeout`` is no number of seconds.
            Unavailable, Unknown: the broker could not be asked.
        """
        longest(timeout)
        return self._wait(lambda: self._handle.result(timeout), "result()")

    def wait(self, timeout: float | None = None) -> TaskInfo:
        """Wait until the task has ended, however it did. Raises as :meth:`result` for the rest."""
        longest(timeout)
        return self._wait(lambda: self._handle.wait(timeout), "wait()")

    def info(self) -> TaskInfo:
        """The task as it is now, with history and progress. Raises ResultExpired if unknown."""
        return self._wait(self._handle.info, "info()")

    def state(self) -> State:
        """The task's state now. Raises ResultExpired if it is unknown."""
        return self._wait(self._handle.state, "state()")

    def cancel(self, reason: str = "") -> Did:
        """Cancel the task.

        Returns:
            APPLIED: it had not started and never will. REQUESTED: it runs, and its worker has
            been told; its end decides. FINAL: it had ended. UNKNOWN: there is no such task.

        Raises:
            InvalidTask: the reason is no text that UTF-8 can have.
            Unsupported: the broker cannot cancel.
        """
        return self._wait(lambda: self._handle.cancel(reason), "cancel()")

    def replay(self, *, delay: float = 0.0, edit: Edit | None = None) -> Did:
        """Run a task that has ended again, from its first attempt.

        Args:
            delay: seconds until it may start, 0 to ten years.
            edit: what to change in it, within the ranges of the options.

        Returns:
            APPLIED. LIVE: it has not ended. DUPLICATE: another task holds its unique key.
            UNKNOWN: there is no such task.

        Raises:
            InvalidTask, PayloadTooLarge: an option is out of range.
            Unsupported: the broker cannot replay, or a newer version wrote what is to be edited.
        """
        return self._wait(lambda: self._handle.replay(delay=delay, edit=edit), "replay()")

    def reschedule(
        self,
        *,
        delay: float | timedelta | None = None,
        run_at: datetime | float | None = None,
    ) -> Did:
        """Give a task that has not started another time, as if it waited anew from now on.

        A task that waits for a retry goes on with its next attempt then.

        Args:
            delay: from now until it may start, seconds or timedelta, 0 to ten years.
            run_at: instead of ``delay``: when it may start, a datetime with a time zone or UTC
                seconds; one that is past means now.

        Returns:
            APPLIED. RUNNING: it has started. FINAL: it has ended. UNKNOWN: there is no such task.

        Raises:
            InvalidTask: neither or both are given, or the time is out of range.
            Unsupported: the broker cannot reschedule.
        """
        return self._wait(
            lambda: self._handle.reschedule(delay=delay, run_at=run_at), "reschedule()"
        )

    def why(self) -> Why:
        """Why the task is not running, or where it runs, or how it ended: each reason with what
        to do, the most decisive first; ``print`` it to read them.

        What the broker cannot tell is said to be unknown. Takes three calls, or some more
        if the task waits. Of a task that is not known it says so, and raises nothing.

        Raises:
            Unavailable, Unknown, Refused: the broker could not be asked.
        """
        return self._wait(self._handle.why, "why()")

    def events(self, after: str | None = None) -> Iterator[Notice]:
        """What happens to the task, as it happens; ends with the event of the task's end.

        What happened before it begins is not told: of a task that has ended it yields nothing,
        and ends after a few seconds. See :meth:`info` for that.

        Args:
            after: the cursor of a notice seen before, to go on behind it; None begins now.

        Yields notices of (cursor, event); one without an event marks events that are gone. Who
        breaks off has it ended, soon after.

        Raises:
            NothingRuns: within ``app.testing()``: nothing runs the task.
            Unsupported: the broker has no events.
            Unavailable, Unknown: the broker could not be asked.
        """
        return self._handle._client.elsewhere.iterate(
            lambda: self._handle.events(after),
            "async for notice in app.handle(id).events()",
        )

    def _wait(self, call: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
        return self._handle._client.elsewhere.wait(call, f"await app.handle(id).{name}")


def as_completed(
    handles: Iterable[SyncHandle[R]], timeout: float | None
) -> Iterator[SyncHandle[R]]:
    """See :meth:`xqueue_core.client.sync.app.SyncApp.as_completed`."""
    longest(timeout)
    return _completed(list(handles), timeout)


def _completed(handles: list[SyncHandle[R]], timeout: float | None) -> Iterator[SyncHandle[R]]:
    if not handles:
        return
    by_handle = {one._handle: one for one in handles}
    elsewhere = handles[0]._handle._client.elsewhere
    stream = elsewhere.iterate(
        lambda: completing([one._handle for one in handles], timeout),
        "async for handle in as_completed(handles)",
    )
    with closing(stream):
        for done in stream:
            yield by_handle[done]
