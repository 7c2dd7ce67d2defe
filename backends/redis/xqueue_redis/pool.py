"""Connections that are used in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from xqueue_core.errors import Refused
from xqueue_redis.wire import Wire


class Pool:
    """Connections to one server; the one used last is used next.

    Args:
        dial: makes one.
        most: how many there are at one time; None for no limit.
        resting: how many are kept that nobody uses.
    """

    def __init__(self, dial: Callable[[], Awaitable[Wire]], most: int | None, resting: int) -> None:
        self._dial = dial
        self._places = None if most is None else asyncio.Semaphore(most)
        self._resting = resting
        self._idle: list[Wire] = []
        self._used: set[Wire] = set()
        self._closed = False

    async def take(self) -> Wire:
        """One that is not known to be cut off; waits until there may be one."""
        if self._places is not None:
            await self._places.acquire()
        try:
            wire = await self._fresh()
        except BaseException:
            self._leave()
            raise
        self._used.add(wire)
        return wire

    async def put(self, wire: Wire) -> None:
        """Give one back; it is dropped if an answer is outstanding."""
        self._used.discard(wire)
        self._leave()
        if wire.fresh and not self._closed and len(self._idle) < self._resting:
            self._idle.append(wire)
        else:
            await wire.drop()

    async def close(self) -> None:
        """Cut off all of them, also those in use."""
        self._closed = True
        wires = [*self._idle, *self._used]
        self._idle.clear()
        await asyncio.gather(*(wire.gone() for wire in wires))

    async def _fresh(self) -> Wire:
        while self._idle:
            wire = self._idle.pop()
            if wire.fresh:
                return wire
            await wire.drop()
        wire = await self._dial()
        if self._closed:
            await wire.gone()
            raise Refused("the backend was closed meanwhile")
        return wire

    def _leave(self) -> None:
        if self._places is not None:
            self._places.release()
