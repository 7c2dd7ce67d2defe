"""One connection through the :class:`~.proxy.Proxy`, and what may befall it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from xqueue_core.conformance.proxy import Drop

#: Most bytes taken at a time, and pieces under way at a time, each way.
PIECE, UNDER_WAY = 65_536, 64
#: Seconds between two pieces of a slow connection.
TICK = 0.02


class Piece(NamedTuple):
    """Some data under way, and what is called when its last bytes are about to be given on."""

    data: bytes
    goes: Callable[[], None] | None = None


class Faults:
    """What is wrong now with all connections of a proxy.

    Attributes:
        latency: seconds that data takes longer; ``jitter``: up to so many more.
        rate: bytes a second; 0 for as many as there are.
        holes: above 0 everything is swallowed.
        drops: replies that are to get lost.
    """

    def __init__(self, rng: random.Random) -> None:
        self.latency = 0.0
        self.jitter = 0.0
        self.rate = 0.0
        self.holes = 0
        self.drops: list[Drop] = []
        self._rng = rng

    def later(self) -> float:
        """How many seconds longer the next piece takes."""
        return self.latency + (self._rng.uniform(0.0, self.jitter) if self.jitter else 0.0)


class Link:
    """Forwards between one client and the broker until either has ended, or it is cancelled.

    The end of one direction is passed on as such: the other may still have something to say.

    Attributes:
        swallowed: True if something was lost in a black hole.
    """

    def __init__(self, faults: Faults, target: tuple[str, int]) -> None:
        self.swallowed = False
        self._faults = faults
        self._target = target
        self._tail = b""  # of what the client sent: what is looked for may come in two pieces
        # Loses the next reply of this link, unless it skips it. Set when its request goes to the
        # broker: what is answered while the proxy has that still is an earlier request.
        self._asked: Drop | None = None
        self._cut: Callable[[], object] = lambda: None

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward; cancelling cuts both sides."""
        task = asyncio.current_task()
        self._cut = task.cancel if task is not None else self._cut
        ends = [writer]
        try:
            there = await asyncio.open_connection(*self._target)
            ends.append(there[1])
            async with asyncio.TaskGroup() as group:
                for way in (
                    _Way(self._faults, reader, there[1], self._request),
                    _Way(self._faults, there[0], writer, self._reply),
                ):
                    group.create_task(way.take())
                    group.create_task(way.give())
        except* OSError:
            pass  # refused, or reset by one side: the other one learns it
        finally:
            for end in ends:
                end.transport.abort()

    def _swallows(self) -> bool:
        if self._faults.holes:
            self.swallowed = True
        return self.swallowed

    def _request(self, data: bytes) -> Piece | None:
        """Look at what the client sent; None if it goes no further."""
        if self._swallows():
            return None
        seen, meant = self._tail + data, None
        for drop in self._faults.drops:
            if self._asked is None and not drop.happened and drop.containing in seen:
                meant = drop
                break
        longest = max((len(drop.containing) for drop in self._faults.drops), default=0)
        self._tail = seen[-(longest - 1) :] if longest > 1 and meant is None else b""
        return Piece(data, None if meant is None else partial(self._goes, meant))

    def _goes(self, drop: Drop) -> None:
        """The last bytes of a request that is meant are about to go to the broker."""
        if self._asked is None:
            self._asked = drop

    def _reply(self, data: bytes) -> Piece | None:
        """Look at what the broker sent; None if it goes no further."""
        if self._swallows():
            return None
        drop, self._asked = self._asked, None
        # One that was called off meanwhile loses nothing.
        if drop is not None and drop in self._faults.drops and drop.answered():
            self._cut()
            return None
        return Piece(data)


class _Way:
    """One direction. What was taken is given on when its time has come, in order."""

    def __init__(
        self,
        faults: Faults,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passes: Callable[[bytes], Piece | None],
    ) -> None:
        self._faults = faults
        self._reader = reader
        self._writer = writer
        self._passes = passes
        self._pieces: asyncio.Queue[tuple[float, Piece]] = asyncio.Queue(UNDER_WAY)
        self._clock = asyncio.get_running_loop().time

    async def take(self) -> None:
        """Read until the end, which is an empty piece."""
        data = b"."
        while data:
            data = await self._reader.read(PIECE)
            piece = self._passes(data) if data else Piece(data)
            if piece is not None:
                await self._pieces.put((self._clock() + self._faults.later(), piece))

    async def give(self) -> None:
        """Write what was taken."""
        while True:
            at, piece = await self._pieces.get()
            if (left := at - self._clock()) > 0:
                await asyncio.sleep(left)
            if not piece.data:
                break
            await self._write(piece)
        with suppress(OSError):  # it has gone as well
            if self._writer.can_write_eof():
                self._writer.write_eof()

    async def _write(self, piece: Piece) -> None:
        data = piece.data
        while data:
            rate = self._faults.rate
            size = max(1, int(rate * TICK)) if rate else len(data)
            if rate:  # before: the last piece must not be there sooner than a slow line brings it
                await _passed(len(data[:size]) / rate)
            if piece.goes is not None and size >= len(data):
                piece.goes()
            self._writer.write(data[:size])
            await self._writer.drain()
            data = data[size:]


async def _passed(seconds: float) -> None:
    """Sleep for so long and no less: timers of some event loops are early by a millisecond."""
    end, left = time.monotonic() + seconds, seconds
    while left > 0:
        await asyncio.sleep(left)
        left = end - time.monotonic()
