"""The client where no loop of asyncio runs: plain code and trio use a thread that has one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from xqueue_core.client import waits
from xqueue_core.client.closed import closed
from xqueue_core.client.streams import END, Stream
from xqueue_core.connect import ProcessLock
from xqueue_core.errors import Unsupported

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: Longest wait for the thread's end (seconds).
LONGEST_END = 5.0


class Elsewhere:
    """A daemon thread with an event loop of asyncio, started at the first use in each process.

    Any thread, and any task of trio, may use it. A forked child starts its own: of its parent's
    it closes nothing, and waits for nothing.
    """

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._last: threading.Thread | None = None  # which may not have ended yet, when given up
        #: Kept, for a loop that the garbage collector finds takes itself out of the selector
        #: that parent and child share.
        self._inherited: list[object] = []
        self._streams: set[Stream[Any]] = set()  # those that live on the loop

    # -- on trio ----------------------------------------------------------------------------------

    async def run(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Await ``call()`` there. On trio only; cancelling this cancels it there."""
        return await waits.on_trio(call, self._begun)

    def stream(self, make: Callable[[], AsyncIterator[T]]) -> AsyncIterator[T]:
        """The items of an async iterator that lives there. On trio only.

        It is ended there when the consumer breaks off; nobody waits for that.
        """
        return _Streamed(self, Stream(make))

    async def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await ``last()`` there and end the thread, if there is one in this process. On trio.

        The next use, also one that begins meanwhile, starts another. What has not ended by then
        raises Unavailable.
        """
        loop, _, ending = self._given_up(last)
        if loop is None:
            return
        try:
            await waits.on_trio(ending, lambda call: asyncio.run_coroutine_threadsafe(call(), loop))
        finally:
            loop.call_soon_threadsafe(loop.stop)

    # -- in plain code ----------------------------------------------------------------------------

    def wait(self, call: Callable[[], Coroutine[Any, Any, R]], instead: str) -> R:
        """Await ``call()`` there, while this thread waits; ``instead`` is for who must not.

        What interrupts the wait, as KeyboardInterrupt does, ends it at once: the call is
        cancelled there, and a note says what is known of it.

        Raises Unsupported where an event loop runs in this thread.
        """
        refuse_on_a_loop(instead)
        return waits.in_plain_code(call, self._begun)

    def iterate(
        self, make: Callable[[], AsyncIterator[T]], instead: str
    ) -> Generator[T, None, None]:
        """The items of an async iterator that lives there, one by one; see :meth:`wait`."""
        refuse_on_a_loop(instead)
        return self._items(Stream(make), instead)

    def end(self, last: Callable[[], Coroutine[Any, Any, None]], instead: str) -> None:
        """:meth:`close` in plain code; waits for the thread's end as well, 5 s at most."""
        refuse_on_a_loop(instead)
        loop, thread, ending = self._given_up(last)
        if loop is None:
            return
        try:
            waits.in_plain_code(ending, lambda call: asyncio.run_coroutine_threadsafe(call(), loop))
        finally:
            loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join(LONGEST_END)

    def _items(self, stream: Stream[T], instead: str) -> Generator[T, None, None]:
        loop = self._started()
        stream.among = self._streams
        try:
            while (
                item := waits.in_plain_code(stream.step, partial(self._begun, loop=loop))
            ) is not END:
                yield item
                refuse_on_a_loop(instead)
        finally:
            self._leave(stream, loop)

    def stop(self) -> None:
        """End the thread, if there is one in this process, whatever is under way there.

        Whoever waits for that is told by Unavailable. Waits 5 s at most for the thread's end.
        """
        with self._lock.own():
            if self._pid != os.getpid():
                return
            loop, thread = self._loop, self._last
            self._loop = self._thread = None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        if thread is not None and thread is not threading.current_thread():
            thread.join(LONGEST_END)

    # -- the thread -------------------------------------------------------------------------------

    def _begun(
        self,
        call: Callable[[], Coroutine[Any, Any, R]],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> concurrent.futures.Future[R]:
        """Have ``call()`` awaited there; on this loop, or not at all, if one is given."""
        while True:
            there = loop or self._started()
            with self._lock.own():  # what begins before a close is ended by it
                if self._has(there):
                    return asyncio.run_coroutine_threadsafe(call(), there)
            if loop is not None:
                raise closed()

    def _has(self, loop: asyncio.AbstractEventLoop) -> bool:
        return loop is self._loop and self._pid == os.getpid()

    def _started(self) -> asyncio.AbstractEventLoop:
        if (own := self._own()) is not None:
            return own
        nobodys = Context()  # a loop keeps that in which it was made
        loop = nobodys.run(asyncio.new_event_loop)
        thread = threading.Thread(target=_serve, args=(loop,), name="xqueue-client", daemon=True)
        # Without the lock, for this waits until the thread runs: whatever the garbage collector
        # ends there meanwhile may need it. Of those that start one at once the first is kept.
        try:
            nobodys.run(thread.start)
        except BaseException:
            loop.close()
            raise
        with self._lock.own():
            if (own := self._own()) is None:
                self._loop, self._thread, self._last = loop, thread, thread
                self._streams = set()
                return loop
        loop.call_soon_threadsafe(loop.stop)
        return own

    def _own(self) -> asyncio.AbstractEventLoop | None:
        """The loop of this process, if there is one."""
        with self._lock.own():
            if self._pid != os.getpid():
                self._inherited += [self._loop, self._thread]
                self._loop, self._thread, self._pid = None, None, os.getpid()
            return self._loop

    def _given_up(
        self, last: Callable[[], Coroutine[Any, Any, None]]
    ) -> tuple[
        asyncio.AbstractEventLoop | None,
        threading.Thread | None,
        Callable[[], Coroutine[Any, Any, None]],
    ]:
        """Loop and thread of this process, which nobody else is given from now on, and what is
        left to do there: streams end before the connection that they need."""
        with self._lock.own():
            mine = self._pid == os.getpid()
            loop, thread, streams = self._loop, self._thread, self._streams
            if mine:
                self._loop = self._thread = None

        async def ending() -> None:
            for stream in list(streams):
                await stream.end()
            await last()

        return (loop, thread, ending) if mine else (None, None, ending)

    def _leave(self, stream: Stream[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Have the stream ended there, by whichever thread; not in a child that inherited it.

        Without the lock: the garbage collector comes here anywhere, also where it is waited for.
        """
        if self._has(loop):
            with suppress(RuntimeError):  # it was closed meanwhile, and ended its streams before
                loop.call_soon_threadsafe(stream.leave)


class _Streamed(AsyncIterator[T]):
    """A stream on trio. Not a generator: trio warns of those that are left before their end."""

    def __init__(self, elsewhere: Elsewhere, stream: Stream[T]) -> None:
        self._elsewhere = elsewhere
        self._stream = stream
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = False

    async def __anext__(self) -> T:
        if self._over:
            raise StopAsyncIteration
        if self._loop is None:
            self._loop = self._elsewhere._started()
            self._stream.among = self._elsewhere._streams
        try:
            loop = self._loop
            item = await waits.on_trio(
                self._stream.step, lambda call: self._elsewhere._begun(call, loop)
            )
        except BaseException:
            self._end()
            raise
        if item is END:
            self._end()
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Take no more of it."""
        self._end()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            if self._loop is not None:
                self._elsewhere._leave(self._stream, self._loop)


class HasClient(Protocol):
    """What belongs to a client."""

    @property
    def _client(self) -> Any: ...


S = TypeVar("S", bound=HasClient)


def on_any_loop(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Let a method, written for asyncio, be awaited on trio as well."""

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        if not on_trio():
            return method(self, *args, **kwargs)
        elsewhere: Elsewhere = self._client.elsewhere
        return elsewhere.run(lambda: method(self, *args, **kwargs))

    return call


def streamed_on_any_loop(
    method: Callable[Concatenate[S, P], AsyncIterator[T]],
) -> Callable[Concatenate[S, P], AsyncIterator[T]]:
    """The same for a method that is an async generator."""

    @functools.wraps(method)
    def stream(self: S, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        if not on_trio():
            return method(self, *args, **kwargs)
        elsewhere: Elsewhere = self._client.elsewhere
        return elsewhere.stream(lambda: method(self, *args, **kwargs))

    return stream


def on_trio() -> bool:
    """True in a task of trio."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def refuse_on_a_loop(instead: str) -> None:
    """Raise Unsupported if an event loop runs in this thread: waiting here would block it."""
    trio = sys.modules.get("trio")
    if asyncio._get_running_loop() is not None:
        loop, thread = "asyncio", "asyncio.to_thread"
    elif trio is not None and trio.lowlevel.in_trio_run():
        loop, thread = "trio", "trio.to_thread.run_sync"
    else:
        return
    raise Unsupported(
        f"an event loop of {loop} runs in this thread, which this call would block: write "
        f"`{instead}`, or make the call in a thread, by {thread}()"
    )


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    # What waits at the end of the process, or in a parent at a fork, is never collected: nothing
    # clears the frame of a daemon thread. Else Python would complain of tasks that are pending.
    pending: set[asyncio.Task[Any]] = set()
    nobodys = Context()  # not that of whoever begins the task, which may outlive his request

    def kept(loop: asyncio.AbstractEventLoop, coroutine: Any, /, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **more)
        pending.add(task)
        task.add_done_callback(pending.discard, context=nobodys)
        return task

    loop.set_task_factory(kept)
    try:
        loop.run_forever()
        loop.run_until_complete(asyncio.sleep(0))
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
