"""What the client has open on one event loop, and which session belongs to which loop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeVar

from xqueue_core.calls import Accepted, AnyCommand, Put, Verdict
from xqueue_core.client.batcher import Batcher
from xqueue_core.client.retrying import Retrying
from xqueue_core.client.sending import Sender, Submission
from xqueue_core.client.watcher import Watcher
from xqueue_core.connect import Connection, ProcessLock
from xqueue_core.errors import Unavailable, Unsupported
from xqueue_core.task import Task

R = TypeVar("R")

logger = logging.getLogger("xqueue")

#: Longest wait for a connection to close (seconds).
CLOSING = 5.0

Connect = Callable[[], AbstractAsyncContextManager[Connection]]


class Session:
    """One event loop's connection, opened at the first use, and all that shares it."""

    def __init__(self, connect: Connect, retrying: Retrying) -> None:
        self._connect = connect
        self._retrying = retrying
        self._ready: asyncio.Future[Connection] | None = None
        self._holder: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._ended: Callable[[Collection[str]], Awaitable[None]] | None = None
        self._batcher: Batcher[Submission, Accepted] = Batcher(
            Sender(self.connection, retrying).flush
        )
        self.watcher = Watcher(self.connection, retrying)

    async def connection(self) -> Connection:
        """The connection, opened if need be. Raises what :func:`xqueue_core.connect.connect` does.

        One that broke is opened anew by the next call.
        """
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            # A task of its own, for what is opened must be closed by the task that opened it,
            # and because whoever calls first may be cancelled.
            self._holder = asyncio.create_task(self._hold(self._ready))
        return await asyncio.shield(self._ready)

    async def _hold(self, ready: asyncio.Future[Connection]) -> None:
        """Keep the connection open until the session closes."""
        try:
            async with self._connect() as connection:
                self._ended = connection.ended
                ready.set_result(connection)
                await self._closing.wait()
        except asyncio.CancelledError:
            ready.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the callers' to handle
            if ready.done():
                logger.warning("the connection broke, the next call opens another: %s", error)
            else:
                ready.set_exception(error)
                ready.exception()  # it was seen, even if every caller is gone by now
        finally:
            if self._ready is ready:
                self._ready = None

    async def opened(self) -> None:
        """Open the connection, trying until the deadline."""
        await self._retrying(self.connection)

    async def submit(self, task: Task) -> Accepted:
        """Get one task accepted.

        Raises:
            SubmitError, ConfigError, Unsupported: it was not accepted, and never will be.
            Unavailable: it was not accepted: the broker could not be reached.
            Unknown: whether it was accepted is not known; submitting it again is safe.
            CancelledError: with the id and whether anything was sent.
        """
        submission = Submission(task, self._until())
        try:
            async with asyncio.timeout(self._retrying.deadline + CLOSING):
                answer = await self._batcher.add(submission)
        except asyncio.CancelledError as error:
            raise cancelled(submission) from error
        except TimeoutError as error:  # it never got its turn
            raise submission.expired(Unavailable("too many tasks wait before it")) from error
        if self._ended is not None and _new(answer):
            await self._run([task], self._ended)
        return answer

    async def submit_many(self, tasks: list[Task]) -> list[Accepted | Exception]:
        """Get many tasks accepted; each answer, or what :meth:`submit` would have raised."""
        until = self._until()
        submissions = [Submission(task, until) for task in tasks]
        try:
            answers = await self._batcher.add_many(submissions)
        except asyncio.CancelledError as error:
            sent = sum(one.sent for one in submissions)
            raise asyncio.CancelledError(
                f"submit of {len(tasks)} tasks was cancelled, outcome unknown of {sent}",
                *[one.task.id for one in submissions if one.sent],
            ) from error
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
        except asyncio.CancelledError as error:
            what = ids[0] if len(ids) == 1 else f"{len(ids)} tasks"
            text = f"submit of {what} was cancelled; it was accepted, and runs on"
            raise asyncio.CancelledError(text, *ids) from error

    def _until(self) -> float:
        return self._retrying.runtime.clock() + self._retrying.deadline

    async def control(self, command: AnyCommand) -> Verdict:
        """Carry out one command, which must be safe to repeat."""

        async def call() -> Verdict:
            connection = await self.connection()
            (verdict,) = await connection.faces.queue.control([command])
            return verdict

        return await self._retrying(call)

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

    def abandon(self) -> None:
        """Cancel everything, without a wait for its end; on its loop, or while that stands still.

        Callers that wait for an answer are cancelled.
        """
        self._batcher.abandon()
        self.watcher.abandon()
        if self._holder is not None:
            self._holder.cancel()


def _new(answer: Accepted | Exception) -> bool:
    return isinstance(answer, Accepted) and answer.put is Put.NEW


def cancelled(submission: Submission) -> asyncio.CancelledError:
    """What a cancelled submit raises. Not a subclass: asyncio compares the very class."""
    id = submission.task.id
    if submission.sent:
        return asyncio.CancelledError(f"submit of {id} was cancelled, outcome unknown", id)
    return asyncio.CancelledError(f"submit of {id} was cancelled, nothing was sent", id)


class Sessions:
    """The sessions of one app, by event loop."""

    def __init__(self, connect: Connect, retrying: Retrying) -> None:
        self._connect = connect
        self._retrying = retrying
        self._open: dict[asyncio.AbstractEventLoop, Session] = {}
        self._inherited: list[dict[asyncio.AbstractEventLoop, Session]] = []
        self._pid = os.getpid()
        self._lock = ProcessLock()

    def current(self) -> Session:
        """The session of the running event loop. Raises Unsupported where none of asyncio runs."""
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
        # Never changed, only replaced: those who look need no lock.
        session = Session(self._connect, self._retrying)
        alive = {one: held for one, held in self._open.items() if not one.is_closed()}
        self._open = {**alive, loop: session}
        return session

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
