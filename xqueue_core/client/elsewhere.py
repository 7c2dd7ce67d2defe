"""The client where no loop of asyncio runs: on trio it uses a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from xqueue_core.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")


class Elsewhere:
    """A daemon thread with an event loop of asyncio, started at the first use in each process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def run(
        self,
        call: Callable[[], Coroutine[Any, Any, R]],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> R:
        """Await ``call()`` there. On trio only; cancelling this cancels it there."""
        import trio

        token, done = trio.lowlevel.current_trio_token(), trio.Event()

        def tell(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(done.set)

        with self._lock:  # what begins before a close is ended by it
            future = asyncio.run_coroutine_threadsafe(call(), loop or self._started())
        future.add_done_callback(tell)
        try:
            await done.wait()
        except trio.Cancelled:
            future.cancel()
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise Unavailable("the client was closed meanwhile") from error

    async def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await ``last()`` there and end the thread, if there is one in this process.

        The next use, also one that begins meanwhile, starts another. What has not ended by then
        raises Unavailable.
        """
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or self._pid != os.getpid():
            return
        try:
            await self.run(last, loop)
        finally:
            loop.call_soon_threadsafe(loop.stop)

    def stop(self) -> None:
        """End the thread, if there is one in this process, with all that is under way there."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if thread is None or self._pid != os.getpid():
            return
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._pid != os.getpid():
            self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
            self._thread = threading.Thread(
                target=_serve, args=(self._loop,), name="xqueue-client", daemon=True
            )
            self._thread.start()
        return self._loop


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


def on_trio() -> bool:
    """True in a task of trio."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left) if left else asyncio.sleep(0))
    finally:
        loop.close()
