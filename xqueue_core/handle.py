"""A submitted task from the client's side: wait for it, look at it, cancel it, run it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from xqueue_core.calls import Ability, Cancel, Did, Edit, Replay, Reschedule, Verdict
from xqueue_core.client.elsewhere import on_any_loop, on_trio, streamed_on_any_loop
from xqueue_core.client.ending import ending, longest, those, unfinished
from xqueue_core.client.options import check_edit, check_time
from xqueue_core.client.options import text as check_text
from xqueue_core.client.still import PAUSE, nothing_runs, still
from xqueue_core.errors import InvalidResult, InvalidTask, ResultExpired, Unsupported
from xqueue_core.foreign import HANDLE, tells
from xqueue_core.payload import JSON, decode_json, json_decoder
from xqueue_core.task import EventName, State
from xqueue_core.views import Filter, TaskInfo

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from xqueue_core.abc import Notice
    from xqueue_core.client.client import Client
    from xqueue_core.connect import Connection
    from xqueue_core.why import Why

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

#: Makes a result from its bytes and content type. Raises InvalidTask if it does not fit.
Decode = Callable[[bytes, str], R]

#: How often an idle stream of events looks whether the task has ended meanwhile (seconds).
LOOK = 2.0

_any_decoder = json_decoder(Any)


def any_json(result: bytes, content_type: str) -> Any:
    """A result as plain JSON types; of another content type the bytes themselves."""
    return decode_json(result, _any_decoder) if content_type in ("", JSON) else result


@tells(HANDLE)
class Handle(Generic[R_co]):
    """One task. It works on any event loop of asyncio or trio, and may be thrown away.

    Attributes:
        duplicate: True if the submit found a task with its id or unique key there already; the
            handle is then that task's. A repetition of its own after a lost reply is none.
    """

    __slots__ = ("_client", "_decode", "_id", "duplicate")

    def __init__(
        self, client: Client, id: str, decode: Decode[R_co], *, duplicate: bool = False
    ) -> None:
        self._client = client
        self._id = id
        self._decode = decode
        self.duplicate = duplicate

    def __repr__(self) -> str:
        return f"<Handle {self._id}>"

    @property
    def id(self) -> str:
        """The task's id. It changes once if the task is found to duplicate an earlier one."""
        return self._id

    @on_any_loop
    async def result(self, timeout: float | None = None) -> R_co:
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
        info = await self.wait(timeout)
        if info.state is not State.SUCCESS:
            raise ending(info)
        if info.result is None:
            connection: Connection = await self._client.session.call(_itself)
            if Ability.RESULTS not in connection.capabilities.abilities:
                raise Unsupported(f"task {info.id} succeeded, but the broker keeps no results")
            raise ResultExpired(f"the result of {info.id} is no longer kept", info.id)
        try:
            return self._decode(info.result, info.result_type)
        except InvalidTask as error:
            raise InvalidResult(f"task {info.id} succeeded, but {error}", info.id) from error

    @on_any_loop
    async def wait(self, timeout: float | None = None) -> TaskInfo:
        """Wait until the task has ended, however it did. Raises as :meth:`result` for the rest."""
        try:
            async with asyncio.timeout(longest(timeout)):
                return await self._ended()
        except TimeoutError:
            text = await unfinished(self._client.session, self._id, timeout)
            raise TimeoutError(text) from None

    async def _ended(self) -> TaskInfo:
        watcher = self._client.session.watcher
        while True:
            info = await watcher.ended(self._id)
            if info is None:
                raise _gone(self._id)
            if not self._follow(info):
                return info

    def _follow(self, info: TaskInfo) -> bool:
        """True if the task turned out a duplicate, and the handle is now that of the other."""
        if not info.of or info.of == self._id:
            return False
        self._id, self.duplicate = info.of, True
        return True

    @on_any_loop
    async def info(self) -> TaskInfo:
        """The task as it is now, with history and progress. Raises ResultExpired if unknown."""
        while True:
            info = await self._client.session.watcher.find(self._id)
            if info is None:
                raise _gone(self._id)
            if not self._follow(info):
                return info

    async def state(self) -> State:
        """The task's state now. Raises ResultExpired if it is unknown."""
        return (await self.info()).state

    @on_any_loop
    async def cancel(self, reason: str = "") -> Did:
        """Cancel the task.

        Returns:
            APPLIED: it had not started and never will. REQUESTED: it runs, and its worker has
            been told; its end decides. FINAL: it had ended. UNKNOWN: there is no such task.

        Raises:
            InvalidTask: the reason is no text that UTF-8 can have.
            Unsupported: the broker cannot cancel.
        """
        check_text("reason", reason)
        # The request's name tells this call's own earlier tries from other people's cancels.
        command = Cancel(id=self._id, reason=reason, request=self._client.uuid())
        return _did(await self._client.session.control(command), "cancel")

    @on_any_loop
    async def replay(self, *, delay: float = 0.0, edit: Edit | None = None) -> Did:
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
        check_edit(edit, delay)
        # The request's name makes repeating the command safe, by whatever layer.
        request = self._client.uuid()
        command = Replay(id=self._id, request=request, edit=edit, delay=delay)
        did = _did(await self._client.session.control(command), "replay")
        # Nobody else has this name: an earlier try, whose reply was lost, has done it.
        return Did.APPLIED if did is Did.REPEATED else did

    @on_any_loop
    async def reschedule(
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
        wait, at = check_time(delay, run_at)
        command = Reschedule(id=self._id, delay=wait, run_at=at)
        return _did(await self._client.session.control(command), "reschedule")

    @on_any_loop
    async def why(self) -> Why:
        """Why the task is not running, or where it runs, or how it ended: each reason with what
        to do, the most decisive first; ``print`` it to read them.

        What the broker cannot tell is said to be unknown. Takes three calls, or some more
        if the task waits. Of a task that is not known it says so, and raises nothing.

        Raises:
            Unavailable, Unknown, Refused: the broker could not be asked.
        """
        from xqueue_core.why.asking import Asking

        why = await self._client.session.call(Asking(self._id))
        if why.id != self._id:
            self._id, self.duplicate = why.id, True
        return why

    @streamed_on_any_loop
    async def events(self, after: str | None = None) -> AsyncIterator[Notice]:
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
        session = self._client.session
        connection = await session.call(_itself)
        stream = connection.faces.needed("notifier").subscribe(
            Filter(ids=frozenset({self._id})), after
        )
        # Nothing comes from a task that ended before the stream began: so it is looked at.
        coming = asyncio.ensure_future(anext(stream))
        try:
            while True:
                await asyncio.wait([coming], timeout=LOOK if connection.idle is None else PAUSE)
                if not coming.done():
                    info = await session.watcher.find(self._id)
                    if info is not None and not info.state.final:
                        idle = connection.idle
                        if idle is not None and await still(idle) and not coming.done():
                            raise nothing_runs(self._id)
                        continue
                    await asyncio.wait([coming], timeout=LOOK)
                    if not coming.done():
                        return
                notice: Notice = coming.result()
                yield notice
                if notice.event is not None and notice.event.name is EventName.FINISHED:
                    return
                coming = asyncio.ensure_future(anext(stream))
        except StopAsyncIteration:
            return
        finally:
            coming.cancel()
            await asyncio.wait([coming])
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()


def as_completed(
    handles: Iterable[Handle[R]], *, timeout: float | None = None
) -> AsyncIterator[Handle[R]]:
    """The handles in the order in which their tasks end, whatever the end.

    Who breaks off has the waits for the others ended, soon after.

    Args:
        handles: of any tasks.
        timeout: longest time for all of them (seconds), from the first step.

    Raises:
        TimeoutError: some have not ended in time; the message says of one of them how it is, and
            so if no live worker serves its lane. Finding that out takes 0.5 s at most.
        ResultExpired, NothingRuns, Unavailable, Unknown: as :meth:`Handle.wait`.
        TypeError, ValueError: ``timeout`` is no number of seconds.
    """
    longest(timeout)
    wanted = list(handles)
    if not wanted or not on_trio():
        return completing(wanted, timeout)
    return wanted[0]._client.elsewhere.stream(lambda: completing(wanted, timeout))


async def completing(
    handles: Sequence[Handle[R]], timeout: float | None
) -> AsyncIterator[Handle[R]]:
    """:func:`as_completed` on asyncio."""
    if not handles:
        return
    done: asyncio.Queue[asyncio.Task[TaskInfo]] = asyncio.Queue()
    waits: dict[asyncio.Task[TaskInfo], Handle[R]] = {}
    for handle in handles:
        wait = asyncio.ensure_future(handle.wait())
        wait.add_done_callback(done.put_nowait)
        waits[wait] = handle
    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    try:
        while waits:
            try:
                async with asyncio.timeout_at(until):
                    wait = await done.get()
            except TimeoutError:
                session = next(iter(waits.values()))._client.session
                raise TimeoutError(await those(session, list(waits.values()), timeout)) from None
            handle = waits.pop(wait)
            wait.result()
            yield handle
    finally:
        for wait in waits:
            wait.cancel()
        if waits:
            await asyncio.wait(waits)


async def _itself(connection: Connection) -> Connection:
    return connection


def _gone(id: str) -> ResultExpired:
    return ResultExpired(f"no record of task {id} is kept, or there never was one", id)


def _did(verdict: Verdict, what: str) -> Did:
    if verdict.did is Did.UNSUPPORTED:
        raise Unsupported(f"the broker cannot {what} tasks")
    if verdict.did is Did.INVALID:
        raise InvalidTask(verdict.reason)
    return verdict.did
