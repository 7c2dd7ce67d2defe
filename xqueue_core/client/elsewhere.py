"""The client where no loop of asyncio runs: plain code and trio use a thread that has one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import queue
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from xqueue_core.client.streams import END, Stream
from xqueue_core.connect import ProcessLock
from xqueue_core.errors import Unavailable, Unsupported

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: Has a call awaited on some loop.
Begin = Callable[[Callable[[], Coroutine[Any, Any, R]]], concurrent.futures.Future[R]]

#: Longest wait for what an interrupted call has to say of its end, and for the thread's (seconds).
LAST_WORDS = 0.1
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
        #: Kept, for a loop that the garbage collector finds takes itself out of the selector
        #: that parent and child share.
        self._inherited: list[object] = []

    # -- on trio ----------------------------------------------------------------------------------

    async def run(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Await ``call()`` there. On trio only; cancelling this cancels it there."""
        return await _on_trio(self._begun(call))

    async def stream(self, make: Callable[[], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
        """The items of an async iterator that lives there. On trio only.

        It is ended there when the consumer breaks off; nobody waits for that.
        """
        stream, loop = Stream(make), self._started()
        try:
            while (item := await _on_trio(self._begun(stream.step, loop))) is not END:
                yield item
        finally:
            self._leave(stream, loop)

    async def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await ``last()`` there and end the thread, if there is one in this process. On trio.

        The next use, also one that begins meanwhile, starts another. What has not ended by then
        raises Unavailable.
        """
        loop, _ = self._given_up()
        if loop is None:
            return
        try:
            await _on_trio(asyncio.run_coroutine_threadsafe(last(), loop))
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
        return _waited(call, self._begun)

    def iterate(
        self, make: Callable[[], AsyncIterator[T]], instead: str
    ) -> Generator[T, None, None]:
        """The items of an async iterator that lives there, one by one; see :meth:`wait`."""
        refuse_on_a_loop(instead)
        return self._items(Stream(make), instead)

    def end(self, last: Callable[[], Coroutine[Any, Any, None]], instead: str) -> None:
        """:meth:`close` in plain code; waits for the thread's end as well, 5 s at most."""
        refuse_on_a_loop(instead)
        loop, thread = self._given_up()
        if loop is None:
            return
        try:
            _waited(last, lambda call: asyncio.run_coroutine_threadsafe(call(), loop))
        finally:
            loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join(LONGEST_END)

    def _items(self, stream: Stream[T], instead: str) -> Generator[T, None, None]:
        loop = self._started()
        try:
            while (item := _waited(stream.step, partial(self._begun, loop=loop))) is not END:
                yield item
                refuse_on_a_loop(instead)
        finally:
            self._leave(stream, loop)

    # -- the thread -------------------------------------------------------------------------------

    def _begun(
        self,
        call: Callable[[], Coroutine[Any, Any, R]],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> concurrent.futures.Future[R]:
        """Have ``call()`` awaited there; on this loop, or not at all, if one is given."""
        with self._lock.own():  # what begins before a close is ended by it
            if loop is not None and not self._has(loop):
                raise _closed()
            return asyncio.run_coroutine_threadsafe(call(), loop or self._started())

    def _has(self, loop: asyncio.AbstractEventLoop) -> bool:
        return loop is self._loop and self._pid == os.getpid()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock.own():
            if self._pid != os.getpid():
                self._inherited += [self._loop, self._thread]
                self._loop, self._thread, self._pid = None, None, os.getpid()
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(loop,), name="xqueue-client", daemon=True
                )
                self._thread.start()
                self._loop = loop
            return self._loop

    def _given_up(self) -> tuple[asyncio.AbstractEventLoop | None, threading.Thread | None]:
        """Loop and thread of this process, which nobody else is given from now on."""
        with self._lock.own():
            if self._pid != os.getpid():
                return None, None
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            return loop, thread

    def _leave(self, stream: Stream[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Have the stream ended there, by whichever thread; not in a child that inherited it."""
        with self._lock.own():
            if self._has(loop):
                loop.call_soon_threadsafe(stream.leave)


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


async def _on_trio(future: concurrent.futures.Future[R]) -> R:
    """The answer, awaited on trio; cancelling this cancels the call."""
    import trio

    token, done = trio.lowlevel.current_trio_token(), trio.Event()

    def tell(_: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(tell)
    try:
        await done.wait()
    except BaseException:
        future.cancel()
        raise
    return _answer(future)


def _waited(call: Callable[[], Coroutine[Any, Any, R]], begin: Begin[R]) -> R:
    """The answer, waited for by this thread; what interrupts that cancels the call."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()

    async def there() -> R:
        try:
            return await call()
        except asyncio.CancelledError as error:
            said.put(str(error.args[0]) if error.args else "")
            raise

    future: concurrent.futures.Future[R] | None = None
    try:
        future = begin(there)
        return _answer(future)
    except BaseException as error:
        if future is not None and future.cancel():  # it has not ended: this is an interruption
            with suppress(queue.Empty):
                if words := said.get(timeout=LAST_WORDS):
                    error.add_note(words)
        raise
    finally:
        future = None  # an exception in it refers to this frame


def _answer(future: concurrent.futures.Future[R]) -> R:
    try:
        return future.result()
    except concurrent.futures.CancelledError as error:
        raise _closed() from error


def _closed() -> Unavailable:
    return Unavailable("the client was closed meanwhile")


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left) if left else asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
