"""Bells for any store: within one process, and by looking at the store now and then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)

from xqueue_core.errors import BrokerError
from xqueue_core.stored.records import Bell, Wait


class LocalBell(Bell):
    """Wakes whoever waits in this process, on any event loop in any thread.

    Nothing rung between the start of listening and a wait is missed, and rings that gather
    while nobody waits count as one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Dicts in place of sets: listeners wake in the order in which they came, which a
        # seeded simulation repeats.
        self._listeners: dict[str, dict[_Listener, None]] = {}

    async def ring(self, topics: Collection[str]) -> None:
        """Wake whoever listens to one of these topics."""
        self.sound(topics)

    def sound(self, topics: Collection[str]) -> None:
        """The same as :meth:`ring`, from any thread; returns at once."""
        heard: dict[_Listener, None] = {}
        with self._lock:
            for topic in topics:
                heard.update(self._listeners.get(topic, ()))
        for listener in heard:
            listener.notify()

    def listen(self, topics: Collection[str]) -> AbstractAsyncContextManager[Wait]:
        """Listen within the context; a ring that comes before the first wait is not missed."""
        return self._listen(frozenset(topics))

    @asynccontextmanager
    async def _listen(self, topics: frozenset[str]) -> AsyncIterator[Wait]:
        with self._listener(topics) as listener:
            yield listener.wait

    @contextmanager
    def _listener(self, topics: frozenset[str]) -> Iterator[_Listener]:
        listener = _Listener(asyncio.get_running_loop())
        with self._lock:
            for topic in topics:
                self._listeners.setdefault(topic, {})[listener] = None
        try:
            yield listener
        finally:
            with self._lock:
                for topic in topics:
                    self._forget(topic, listener)

    def _forget(self, topic: str, listener: _Listener) -> None:
        listeners = self._listeners[topic]
        del listeners[listener]
        if not listeners:
            del self._listeners[topic]


class PollingBell(LocalBell):
    """For a store without a doorbell: whoever waits looks whether the store has changed.

    Rings wake at once within the process, as those of :class:`LocalBell`. A change of the store,
    whoever made it, wakes all who listen, whatever their topics, within ``every`` seconds.

    Args:
        look: answers something that is unequal to its answer before the store changed, for
            instance the size of a file. It is called on the event loop, so it must not block. If
            it raises ``OSError`` or a ``BrokerError``, that is a change as well: whoever wakes
            asks the store, which says what is wrong.
        every: seconds between two looks, above 0.

    Raises:
        ValueError: ``every`` is not above 0.
    """

    def __init__(self, look: Callable[[], object], every: float = 0.01) -> None:
        if not every > 0:
            raise ValueError(f"every must be above 0, not {every}")
        super().__init__()
        self._look = look
        self._every = every

    @asynccontextmanager
    async def _listen(self, topics: frozenset[str]) -> AsyncIterator[Wait]:
        clock = asyncio.get_running_loop().time
        with self._listener(topics) as listener:
            seen = self._seen()

            async def wait(seconds: float) -> None:
                nonlocal seen
                end = clock() + seconds
                while self._seen() == seen:
                    rung = await listener.rings(min(self._every, end - clock()))
                    if rung or clock() >= end:
                        break
                # Without an await in between: a ring for what is seen here is not another one.
                seen = self._seen()
                listener.clear()

            yield wait

    def _seen(self) -> object:
        try:
            return self._look()
        except (OSError, BrokerError) as error:
            return type(error)


class _Listener:
    """One context of listening; belongs to the loop that entered it."""

    __slots__ = ("_called", "_loop", "_rung")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = asyncio.Event()
        self._called = False  # a call that sets the event is under way to the loop

    async def wait(self, seconds: float) -> None:
        """Wait until it has rung since the last wait, at most this long."""
        await self.rings(seconds)
        self.clear()

    async def rings(self, seconds: float) -> bool:
        """True once it has rung since it was cleared, False if it has not after this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._rung.wait()
        return self._rung.is_set()

    def clear(self) -> None:
        """Forget the rings so far."""
        self._rung.clear()

    def notify(self) -> None:
        """Note a ring; from any thread."""
        if asyncio._get_running_loop() is self._loop:
            self._rung.set()
        elif not self._called:
            # Set before the call is made: it may run before call_soon_threadsafe returns.
            self._called = True
            with suppress(RuntimeError):  # the loop has been closed: nobody waits there
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Reset before the event is set, so that a ring in between is delivered once more.
        self._called = False
        self._rung.set()
