"""How plain code, and tasks of trio, wait for what runs on a loop of asyncio in another thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from xqueue_core.errors import Unavailable

R = TypeVar("R")

#: Has a call awaited on some loop.
Begin = Callable[[Callable[[], Coroutine[Any, Any, R]]], concurrent.futures.Future[R]]

#: Longest wait for what an interrupted call has to say of its end (seconds).
LAST_WORDS = 0.1


async def on_trio(future: concurrent.futures.Future[R]) -> R:
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


def in_plain_code(call: Callable[[], Coroutine[Any, Any, R]], begin: Begin[R]) -> R:
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
        raise closed() from error


def closed() -> Unavailable:
    return Unavailable("the client was closed meanwhile")
