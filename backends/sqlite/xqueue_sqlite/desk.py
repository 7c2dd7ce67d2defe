"""A thread that serves calls from any event loop, those that gather meanwhile together."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import anyio

from xqueue_core.errors import Refused

#: Most groups written, or rows read, at once.
_MOST = 2_000
#: Seconds for which a cancelled caller waits for work under way.
_PATIENCE = 30.0


class Work(Protocol):
    """One piece of work."""

    @property
    def weight(self) -> int:
        """How much it is, by the measure of ``_MOST``."""
        ...


class Server(Protocol):
    """What sits at a desk. All of it runs in the desk's thread."""

    def serve(self, works: Sequence[Any]) -> Sequence[Any]:
        """Do the work; for each piece its result, or the exception to raise there."""

    def close(self) -> None:
        """Put everything away."""


@dataclass(slots=True, eq=False)
class _Call:
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    work: Any
    taken: bool = False  # by the thread: it will be done
    withdrawn: bool = False  # before the thread took it: it will not
    done: bool = False  # the loop's
    ended: asyncio.Future[None] | None = None  # what a cancelled caller waits for


class Desk:
    """One server in a thread of its own.

    Args:
        name: the thread's name.
        make: makes the server, in the thread; what it raises, :meth:`opened` raises.
        subject: what is served, for messages.
    """

    def __init__(self, name: str, make: Callable[[], Server], subject: str) -> None:
        self._make = make
        self._subject = subject
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._opened: Future[None] = Future()
        self._closing = False
        # A daemon: one that was never closed must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def opened(self) -> None:
        """Wait until the server is ready. Raises what its making raised."""
        future = asyncio.wrap_future(self._opened)
        # If this is cancelled, the error, if one comes, is nobody's: not to be complained about.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(future)

    def wait_opened(self) -> None:
        """The same, from another thread that may block."""
        self._opened.result()

    async def ask(self, work: Work) -> Any:
        """Have a piece of work done.

        If cancelled, the work is not done, or it has been done before this ends: whoever undoes
        it afterwards does not come too early.
        """
        if os.getpid() != self._pid:
            raise Refused(
                f"{self._subject} was opened by process {self._pid}, from which this one was "
                "forked; open it here once more, or start processes with the method 'spawn'"
            )
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._lock:
            if self._closing:
                raise Refused(f"{self._subject} is closed")
            call = _Call(loop, future, work)
            self._queue.put(call)
        try:
            return await future
        except asyncio.CancelledError:
            await self._withdraw(call)
            raise

    async def _withdraw(self, call: _Call) -> None:
        """Have it not done, or wait until it has been done."""
        with self._lock:
            call.withdrawn = not call.taken
        if call.withdrawn or call.done:
            return
        call.ended = call.loop.create_future()
        # As long as a transaction may wait for others; then the thread has come to grief.
        with anyio.move_on_after(_PATIENCE, shield=True) as scope:
            while not (call.ended.done() or scope.cancel_called):
                with suppress(asyncio.CancelledError):  # the first is raised by the caller
                    await asyncio.wait([call.ended])

    async def close(self) -> None:
        """Finish what was asked, then end the thread. In a forked child: do nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
        await ended(self._thread)

    # -- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            server = self._make()
        except Exception as error:  # noqa: BLE001 - raised where opened() is awaited
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        try:
            while calls := self._gather():
                _deliver_all(calls, _served(server, calls))
        finally:
            server.close()

    def _gather(self) -> list[_Call]:
        """What has been asked, at least one call; nothing at the end."""
        calls: list[_Call] = []
        weight = 0
        with suppress(Empty):
            while weight < _MOST:
                call = self._queue.get(block=not calls)
                if call is None:
                    if calls:
                        self._queue.put(None)
                    break
                with self._lock:
                    call.taken = not call.withdrawn
                if call.taken:
                    calls.append(call)
                    weight += call.work.weight
        return calls


def _served(server: Server, calls: list[_Call]) -> Sequence[Any]:
    try:
        return server.serve([call.work for call in calls])
    except Exception as error:  # noqa: BLE001 - raised where the work was asked for
        return [error] * len(calls)


async def ended(thread: threading.Thread) -> None:
    """Wait for the end of a thread that has been told to end."""
    # A join would block the loop, or take one more thread.
    while thread.is_alive():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def _deliver_all(calls: Sequence[_Call], results: Sequence[Any]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Call, Any]]] = {}
    for call, result in zip(calls, results, strict=True):
        by_loop.setdefault(call.loop, []).append((call, result))
    for loop, results_there in by_loop.items():
        with suppress(RuntimeError):  # the loop has been closed: nobody waits there
            loop.call_soon_threadsafe(_deliver, results_there)


def _deliver(results: list[tuple[_Call, Any]]) -> None:
    for call, result in results:
        future = call.future
        call.done = True
        if call.ended is not None:
            call.ended.set_result(None)
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
