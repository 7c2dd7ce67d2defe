"""A bell within one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

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
        listener = _Listener(asyncio.get_running_loop())
        with self._lock:
            for topic in topics:
                self._listeners.setdefault(topic, {})[listener] = None
        try:
            yield listener.wait
        finally:
            with self._lock:
                for topic in topics:
                    self._forget(topic, listener)

    def _forget(self, topic: str, listener: _Listener) -> None:
        listeners = self._listeners[topic]
        del listeners[listener]
        if not listeners:
            del self._listeners[topic]


class _Listener:
    """One context of listening; belongs to the loop that entered it."""

    __slots__ = ("_called", "_loop", "_rung")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = asyncio.Event()
        self._called = False  # a call that sets the event is under way to the loop

    async def wait(self, seconds: float) -> None:
        """Wait until it has rung since the last wait, at most this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._rung.wait()
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
