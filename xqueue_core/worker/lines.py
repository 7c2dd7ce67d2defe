"""Keeps keys' lines moving: whoever waits in the queue is let go as permits come free.

Counting is what makes it safe. A permit that is given back lets one task of its key go; a look
at all lines, at least every 2 s, lets go what any other way was missed, whichever worker died
and whichever broker the semaphore lives in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from xqueue_core.calls import Line, Unpark
from xqueue_core.errors import BrokerError
from xqueue_core.permits import Permit
from xqueue_core.worker.keys import key_of, semaphore_key
from xqueue_core.worker.tools import Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore, TaskQueue

logger = logging.getLogger("xqueue.worker")

#: Seconds between two looks at all lines: two looks that agree act within the 2 s promised.
LOOK = 0.9
PAGE = 1000

LaneKey = tuple[str, str]


class Lines:
    """Unparks; one per worker."""

    def __init__(
        self, queue: TaskQueue, semaphore: Semaphore | None, lanes: Sequence[str], tools: Tools
    ) -> None:
        self._queue = queue
        self._semaphore = semaphore
        self._lanes = lanes
        self._tools = tools
        self._freed: defaultdict[LaneKey, int] = defaultdict(int)
        self._parked: set[LaneKey] = set()
        self._idle: dict[LaneKey, int] = {}  # free at the last look, although tasks wait
        self._wake = asyncio.Event()

    def released(self, permits: Iterable[Permit]) -> None:
        """These permits were given back: let as many of each key's line go."""
        for permit in permits:
            key = key_of(permit)
            if key is not None and permit.token:
                self._freed[key] += 1
                self._wake.set()

    def parked(self, lane: str, key: str) -> None:
        """A task was parked: its key may have come free before the line was there."""
        self._parked.add((lane, key))
        self._wake.set()

    async def run(self) -> None:
        """Unpark what comes free, until cancelled."""
        while self._semaphore is not None:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._unpark_freed(self._semaphore)
            except BrokerError as error:
                logger.debug("unparking failed, the next look makes up for it: %s", error)
            except Exception:
                logger.exception("unparking failed in an unexpected way")

    async def watch(self) -> None:
        """Look at all lines every now and then, until cancelled."""
        while self._semaphore is not None:
            try:
                await self.look(self._semaphore)
            except BrokerError as error:
                logger.debug("looking at the keys' lines failed: %s", error)
            except Exception:
                logger.exception("looking at the keys' lines failed in an unexpected way")
            await self._tools.sleep(LOOK)

    async def look(self, semaphore: Semaphore) -> None:
        """Compare lines with permits once; unpark what two looks in a row found missing."""
        lines: defaultdict[LaneKey, list[Line]] = defaultdict(list)
        after: str | None = None
        while True:
            page = await self._queue.parked(self._lanes, after, PAGE)
            for line in page.items:
                lines[line.lane, line.key].append(line)
            after = page.next
            if after is None:
                break
        free = await self._free(semaphore, list(lines)) if lines else {}
        # A permit just released, or asked for by a task just unparked, looks missing too.
        commands = [
            command
            for key, count in free.items()
            if (sure := min(count, self._idle.get(key, 0)))
            for command in divided(lines[key], sure)
        ]
        self._idle = {key: count for key, count in free.items() if count}
        if commands:
            await self._queue.control(commands)

    async def _unpark_freed(self, semaphore: Semaphore) -> None:
        freed, self._freed = self._freed, defaultdict(int)
        parked, self._parked = self._parked, set()
        if parked:
            free = await self._free(semaphore, sorted(parked))
            for key, count in free.items():
                freed[key] = max(freed[key], count)
        commands = [Unpark(lane, key, count) for (lane, key), count in freed.items() if count]
        if commands:
            await self._queue.control(commands)

    async def _free(self, semaphore: Semaphore, keys: Sequence[LaneKey]) -> dict[LaneKey, int]:
        """How many permits of each key nobody holds; 1 where its limit is not known now."""
        infos = await semaphore.inspect([semaphore_key(lane, key) for lane, key in keys])
        return {
            key: 1 if info.limit is None else max(0, info.limit - len(info.holders))
            for key, info in zip(keys, infos, strict=True)
        }


def divided(lines: Sequence[Line], count: int) -> list[Unpark]:
    """``count`` tasks of one key, taken from its lines one by one, oldest head first."""
    order = sorted(lines, key=lambda line: line.head_at)
    shares = [0] * len(order)
    left = min(count, sum(line.waiting for line in order))
    while left:
        for index, line in enumerate(order):
            if left and shares[index] < line.waiting:
                shares[index] += 1
                left -= 1
    return [
        Unpark(line.lane, line.key, share, line.shard)
        for line, share in zip(order, shares, strict=True)
        if share
    ]
