"""What the client has open on one event loop, and which session belongs to which loop."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from xqueue_core.calls import Accepted, AnyCommand, Put, Verdict
from xqueue_core.client.again import safe
from xqueue_core.client.background import in_background
from xqueue_core.client.batcher import Batcher
from xqueue_core.client.closed import closed
from xqueue_core.client.plugs import MakePlugged, Plugs
from xqueue_core.client.retrying import Retrying
from xqueue_core.client.sending import Sender, Submission, Turns
from xqueue_core.client.watcher import Watcher
from xqueue_core.connect import Connection, ProcessLock
from xqueue_core.errors import Unavailable, Unknown, Unsupported
from xqueue_core.patience import Patience
from xqueue_core.task import Task

if TYPE_CHECKING:
    from xqueue_core.plugged import Plugged

R = TypeVar("R")

logger = logging.getLogger("xqueue")

#: Longest wait for a connection to close (seconds).
CLOSING = 5.0

#: Bytes of payloads in one put, if it has more than one task: it is repeated as a whole, and has to
#: end within its time over a slow line, too.
BATCH_BYTES = 1024 * 1024

LEFT_OPEN = (
    "an event loop was closed while a connection of an XQueue app was open on it: close it before, "
    "by `async with app:` or `await app.aclose()`"
)

Connect = Callable[[], AbstractAsyncContextManager[Connection]]


class Session:
    """One event loop's connection, opened at the first use, and all that shares it."""

    def __init__(
        self, connect: Connect, retrying: Retrying, plugged: MakePlugged | None = None
    ) -> None:
        self._connect = connect
        self._retrying = retrying
        #: None once it is known that there are none: then nobody asks again.
        self._plugs = None if plugged is None else Plugs(plugged)
        self._ready: asyncio.Future[Connection] | None = None
        self._holder: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._patience = Patience()
        self._left = False
        self._ended: Callable[[Collection[str]], Awaitable[None]] | None = None
        self._batcher: Batcher[Submission, Accepted] = Batcher(
            Sender(self.connection, retrying).flush,
            closed=lambda one: one.given_up(closed()),
            weigh=lambda one: len(one.task.payload),
            load=BATCH_BYTES,
        )
        self.watcher = Watcher(self.connection, retrying)

    async def connection(self) -> Connection:
        """The connection, opened if need be. Raises what :func:`xqueue_core.connect.connect` does.

        One that broke is opened anew by the next call.
        """
        if self._ready is not None and self._ready.done():
            return self._ready.result()
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            # A task of its own, for what is opened must be closed by the task that opened it,
            # and because whoever calls first may be cancelled.
            self._holder = in_background(self._hold(self._ready))
        return await asyncio.shield(self._ready)

    async def _hold(self, ready: asyncio.Future[Connection]) -> None:
        """Keep the connection open until the session closes."""
        try:
            async with self._connect() as connection:
                self._ended = connection.ended
                ready.set_result(connection)
                try:
                    await self._closing.wait()
                except GeneratorExit:  # this is left on a loop that was closed, and collected
                    self.left()
                    raise
        except asyncio.CancelledError:
            ready.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the callers' to handle
            if asyncio._get_running_loop() is None:
                logger.debug("a connection was left open on a closed event loop: %s", error)
            elif ready.done():
                logger.warning("the connection broke, the next call opens another: %s", error)
            else:
                ready.set_exception(error)
                ready.exception()  # it was seen, even if every caller is gone by now
        finally:
            if self._ready is ready:
                self._ready = None

    def left(self) -> None:
        """Its loop is closed: warn if the connection is still open there, once."""
        if self._holder is not None and not self._holder.done() and not self._left:
            self._left = True
            warnings.warn(LEFT_OPEN, ResourceWarning, stacklevel=2)

    async def opened(self) -> None:
        """Open plugins, and the connection, trying until the deadline."""
        await self._plugins()
        await self._retrying(self.connection)

    async def _plugins(self) -> Plugged | None:
        if self._plugs is None:
            return None
        plugged = await self._plugs.opened()
        if plugged is None:
            self._plugs = None
        return plugged

    def submit(self, task: Task) -> Coroutine[Any, Any, Accepted]:
        """Get one task accepted.

        Raises:
            SubmitError, ConfigError, Unsupported: it was not accepted, and never will be.
            Unavailable: it was not accepted: the broker could not be reached.
            Unknown: whether it was accepted is not known; submitting it again is safe.
            CancelledError: with the id and whether it was accepted.
            PluginFailed: a plugin cannot be opened.
        """
        return self._send(task) if self._plugs is None else self._told(task)

    async def _told(self, task: Task) -> Accepted:
        try:
            plugged = await self._plugins()
        except asyncio.CancelledError:
            raise Submission(task).cancelled()  # noqa: B904 - it has its cause
        if plugged is None:
            return await self._send(task)
        with plugged.submitting([task]) as batch:
            answer = batch[0].answer = await self._send(batch[0].task)
        return answer

    async def _send(self, task: Task) -> Accepted:
        submission = Submission(task, self._until())
        try:
            with self._patience.within(self._retrying.longest + CLOSING):
                answer = await self._batcher.add(submission)
        except asyncio.CancelledError:
            raise submission.cancelled()  # noqa: B904 - it has its cause
        except TimeoutError as error:
            why = "no answer came" if submission.sent else "too many tasks wait before it"
            told = submission.given_up(Unavailable(why))
            if isinstance(told, Exception):
                raise told from error
            answer = told
        if self._ended is not None and _new(answer):
            await self._run([task], self._ended)
        return answer

    async def submit_many(self, tasks: list[Task]) -> list[Accepted | Exception]:
        """Get many tasks accepted; each answer, or what :meth:`submit` would have raised."""
        plugged = None
        if self._plugs is not None and tasks:
            try:
                plugged = await self._plugins()
            except asyncio.CancelledError:
                raise cancelled([Submission(task) for task in tasks])  # noqa: B904 - it has its cause
        if plugged is None:
            return await self._send_many(tasks)
        with plugged.submitting(tasks) as batch:
            answers = await self._send_many([one.task for one in batch])
            for one, answer in zip(batch, answers, strict=True):
                one.answer = answer
        return answers

    async def _send_many(self, tasks: list[Task]) -> list[Accepted | Exception]:
        turns = Turns()
        submissions = [Submission(task, turns=turns) for task in tasks]
        try:
            answers = await self._batcher.add_many(submissions)
        except asyncio.CancelledError:
            raise cancelled(submissions)  # noqa: B904 - it has its cause
        if self._ended is not None:
            pairs = zip(tasks, answers, strict=True)
            await self._run([task for task, answer in pairs if _new(answer)], self._ended)
        return answers

    async def _run(
        self, tasks: list[Task], ended: Callable[[Collection[str]], Awaitable[None]]
    ) -> None:
        """Wait for the end of what runs within its submit."""
        ids = [task.id for task in tasks]
        try:
            await ended(ids)
        except asyncio.CancelledError:
            what = ids[0] if len(ids) == 1 else f"{len(ids)} tasks"
            text = f"submit of {what} was cancelled; it was accepted, and runs on"
            # Told by the cause too: whoever is cut off by a close gets an error of its kind.
            raise asyncio.CancelledError(text, *ids) from Unknown(text)

    def _until(self) -> float:
        return self._retrying.runtime.clock() + self._retrying.deadline

    async def control(self, command: AnyCommand) -> Verdict:
        """Carry out one command, which must be safe to repeat."""
        [verdict] = await self.carry_out([command])
        return verdict

    async def carry_out(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        """Carry out commands by one call, which must be safe to repeat."""

        async def call() -> Sequence[Verdict]:
            try:
                connection = await self.connection()
            except Unknown as error:  # of the commands nothing was sent
                raise Unavailable(str(error)) from error
            return await connection.faces.queue.control(commands)

        return await self._retrying(call, changes=True)

    async def call(self, call: Callable[[Connection], Awaitable[R]]) -> R:
        """Ask something of the connection that is safe to repeat."""

        async def once() -> R:
            return await call(await self.connection())

        return await self._retrying(once)

    async def close(self) -> None:
        """Send what waits, then close the connection; never longer than the deadlines say."""
        await self._batcher.drained()
        await self._batcher.close()
        await self.watcher.close()
        self._closing.set()
        if self._holder is not None and not self._holder.done():
            await asyncio.wait([self._holder], timeout=CLOSING)
            self._holder.cancel()
            await asyncio.wait([self._holder], timeout=CLOSING)
        if self._plugs is not None:
            await self._plugs.close()

    def abandon(self) -> None:
        """Cancel everything, without a wait for its end; on its loop, or while that stands still.

        Callers that wait for an answer are told so by Unavailable, or Unknown.
        """
        self._batcher.abandon()
        self.watcher.abandon()
        if self._holder is not None:
            self._holder.cancel()
        if self._plugs is not None:
            self._plugs.abandon()


def _new(answer: Accepted | Exception) -> bool:
    return isinstance(answer, Accepted) and answer.put is Put.NEW


def cancelled(submissions: list[Submission]) -> asyncio.CancelledError:
    """What a cancelled submit of many raises: with the ids of those that may be accepted."""
    for one in submissions:
        one.given_up(Unavailable("its submit was cancelled"))
    tasks = [one.task for one in submissions if one.accepted or one.doubtful]
    ids = [task.id for task in tasks]
    sure = sum(one.accepted for one in submissions)
    what = f"submit of {len(submissions)} tasks was cancelled"
    doubt = f"outcome unknown of {len(ids) - sure}"
    fate = f"{sure} accepted, {doubt}" if sure else doubt
    error = asyncio.CancelledError(f"{what}, {fate}", *ids)
    error.__suppress_context__ = True
    if ids:
        error.__cause__ = Unknown(
            f"{what}; {sure} of them were accepted, whether {len(ids) - sure} others were is "
            f"unknown ({ids[0]} is the first of all these), and the rest were not; submitting the "
            f"same calls again is {safe(tasks)}"
        )
    return error


class Sessions:
    """The sessions of one app, by event loop."""

    def __init__(
        self, connect: Connect, retrying: Retrying, plugged: MakePlugged | None = None
    ) -> None:
        self._connect = connect
        self._retrying = retrying
        self._plugged = plugged
        self._open: dict[asyncio.AbstractEventLoop, Session] = {}
        self._inherited: list[dict[asyncio.AbstractEventLoop, Session]] = []
        self._ending: set[asyncio.AbstractEventLoop] = set()
        self._pid = os.getpid()
        self._lock = ProcessLock()

    def current(self) -> Session:
        """The session of the running event loop.

        Raises:
            Unsupported: no loop of asyncio runs here.
            Unavailable: it ends with the loop, by :meth:`end`.
        """
        loop = _running()
        if self._pid == os.getpid() and (session := self._open.get(loop)) is not None:
            return session
        with self._lock.own():
            return self._begun(loop)

    def _begun(self, loop: asyncio.AbstractEventLoop) -> Session:
        """A new session of this loop; no other thread is in here."""
        if self._pid != os.getpid():
            # A child opens its own. What the parent had open is kept, for even closing it here
            # would do harm: SQLite forbids it, and a socket's farewell would end the parent's.
            self._inherited.append(self._open)
            self._open, self._pid = {}, os.getpid()
        if loop in self._ending:
            raise closed()
        self._ending = {one for one in self._ending if not one.is_closed()}
        # Never changed, only replaced: those who look need no lock.
        session = Session(self._connect, self._retrying, self._plugged)
        alive = {one: held for one, held in self._open.items() if not one.is_closed()}
        left = [held for one, held in self._open.items() if one.is_closed()]
        self._open = {**alive, loop: session}
        for held in left:
            held.left()
        return session

    async def end(self) -> None:
        """:meth:`close`, on a loop that ends then: nothing is opened on it any more."""
        with self._lock.own():
            self._ending = {*self._ending, _running()}
        await self.close()

    async def close(self) -> None:
        """Close the session of the running event loop, if there is one."""
        loop = _running()
        with self._lock.own():
            session = self._open.get(loop) if self._pid == os.getpid() else None
            if session is not None:
                self._open = {one: held for one, held in self._open.items() if one is not loop}
        if session is not None:
            await session.close()

    def abandon(self) -> None:
        """Cancel what every session does, on whatever loop: that ends when its loop goes on."""
        own = asyncio._get_running_loop()
        for loop, session in self._open.items():
            with suppress(RuntimeError):  # it is closed, and whatever was on it has ended
                if loop is own:
                    session.abandon()
                else:
                    loop.call_soon_threadsafe(session.abandon)
        self._open = {}


def _running() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise Unsupported(
            "tasks are submitted and awaited on an asyncio event loop, and none is running here"
        ) from error
