"""How plain code, and tasks of trio, wait for what runs on a loop of asyncio in another thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from xqueue_core.client.closed import closed, words_of

R = TypeVar("R")

Call = Callable[[], Coroutine[Any, Any, R]]
#: Has a call awaited on some loop.
Begin = Callable[[Call[R]], concurrent.futures.Future[R]]

#: Longest wait for what an interrupted call has to say of its end (seconds).
LAST_WORDS = 1.0


class _LastWords:
    """What a call says if it is cancelled; ``told`` is called at its end, on its loop."""

    def __init__(self, told: Callable[[], object] = lambda: None) -> None:
        self._told = told
        self._error: asyncio.CancelledError | None = None
        self._task: asyncio.Task[Any] | None = None
        self._unwanted = False
        self.ended = threading.Event()

    def of(self, call: Call[R]) -> Call[R]:
        """The call, listened to."""

        async def there() -> R:
            self._task = asyncio.current_task()
            try:
                if self._unwanted:
                    raise asyncio.CancelledError
                return await call()
            except asyncio.CancelledError as error:
                self._error = error
                raise
            finally:
                self.ended.set()
                self._told()

        return there

    def cancel(self) -> bool:
        """Cancel the call, begun or not. For who was interrupted before it had its future."""
        self._unwanted = True
        if self._task is None:
            return False
        with suppress(RuntimeError):  # its loop is closed
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        return True

    def noted(self, error: BaseException) -> None:
        """Add them to what has interrupted the wait."""
        if words := words_of(self._error):
            error.add_note(words)

    def answer(self, future: concurrent.futures.Future[R]) -> R:
        """The answer, waited for; what was cancelled there raises what is known of it."""
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise closed(self._error) from error


async def on_trio(call: Call[R], begin: Begin[R]) -> R:
    """The answer, awaited on trio; cancelling this cancels the call."""
    import trio

    token = trio.lowlevel.current_trio_token()
    done, ended = trio.Event(), trio.Event()

    def tell(event: trio.Event) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(event.set)

    await trio.lowlevel.checkpoint_if_cancelled()  # before anything is begun
    said = _LastWords(partial(tell, ended))
    future = begin(said.of(call))
    future.add_done_callback(lambda _: tell(done))
    try:
        await done.wait()
    except BaseException as error:
        if future.cancel():
            with trio.move_on_after(LAST_WORDS, shield=True):
                await ended.wait()
            said.noted(error)
        raise
    return said.answer(future)


def in_plain_code(call: Call[R], begin: Begin[R]) -> R:
    """The answer, waited for by this thread; what interrupts that cancels the call."""
    said = _LastWords()
    future: concurrent.futures.Future[R] | None = None
    try:
        future = begin(said.of(call))
        return said.answer(future)
    except BaseException as error:
        # If it has not ended, this is an interruption; that may come before the future is here.
        if said.cancel() if future is None else future.cancel():
            said.ended.wait(LAST_WORDS)
            said.noted(error)
        raise
    finally:
        future = None  # an exception in it refers to this frame
