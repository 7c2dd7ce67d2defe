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
from contextlib import suppress
from typing import TYPE_CHECKING

from xqueue_core.calls import Line, Unpark
from xqueue_core.errors import BrokerError
from xqueue_core.permits import Permit, task_key
from xqueue_core.worker.keys import key_of
from xqueue_core.worker.tools import Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore, TaskQueue

logger = logging.getLogger("xqueue.worker")

#: Seconds between two looks at all lines: two looks that agree act within the 2 s promised. Where
#: the last one found no line the next may wait longer, if the one after it comes the sooner.
LOOK = 0.9
QUIET, AGAIN = 1.4, 0.3
#: Each line is compared at least so often (seconds), where the looks themselves leave time for it.
EVERY = 2.0
PAGE = 1000
#: Keys that are asked for at a time: some milliseconds of the loop's time.
KEYS = 200
#: Seconds for which what came free gathers where no line is known, so that a call serves many.
GATHER = 0.02
#: Lines up to which it is asked which there are, rather than for a task of each key set free.
FEW = 100
#: Where a key has no limit, so many times as many are let go at each look as at the last.
BOLDER = 4

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
        self._bold: dict[LaneKey, int] = {}  # of keys without a limit: how many to let go next
        self._known: set[LaneKey] = set()  # keys with a line, as far as this worker knows
        self._seen: set[LaneKey] = set()  # parked here since the last look began
        self._armed = False
        self._wake = asyncio.Event()

    def unhurried(self, permit: Permit) -> bool:
        """True if no line of the permit's key is known: nobody is kept waiting by it."""
        return key_of(permit) not in self._known

    def released(self, permits: Iterable[Permit]) -> None:
        """These permits were given back: let as many of each key's line go."""
        for permit in permits:
            key = key_of(permit)
            if key is None or not permit.token:
                continue
            self._freed[key] += 1
            if key in self._known:
                self._wake.set()
            elif not self._armed:
                self._armed = True
                asyncio.get_running_loop().call_later(GATHER, self._gathered)

    def _gathered(self) -> None:
        self._armed = False
        self._wake.set()

    def parked(self, lane: str, key: str) -> None:
        """A task was parked: its key may have come free before the line was there."""
        for keys in (self._parked, self._known, self._seen):
            keys.add((lane, key))
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
        before = False
        while self._semaphore is not None:
            found, began = True, self._tools.clock()
            try:
                found = await self.look(self._semaphore)
            except BrokerError as error:
                logger.debug("looking at the keys' lines failed: %s", error)
            except Exception:
                logger.exception("looking at the keys' lines failed in an unexpected way")
            pause = (LOOK if before else AGAIN) if found else QUIET
            left = began + EVERY - self._tools.clock()
            await self._tools.sleep(min(pause, max(AGAIN, left)))
            before = found

    async def look(self, semaphore: Semaphore) -> bool:
        """Compare lines with permits once; unpark what two looks in a row found missing.

        Part by part, with a turn for everything else on the loop between: there may be very many.
        True if there is a line.
        """
        self._seen = set()
        lines = await self._all()
        self._known = {*lines, *self._seen}
        for gone in (self._idle.keys() | self._bold.keys()) - lines.keys():
            self._idle.pop(gone, None)
            self._bold.pop(gone, None)
        keys = list(lines)
        for n in range(0, len(keys), KEYS):
            free = await self._free(semaphore, keys[n : n + KEYS], self._bold)
            # A permit just released, or asked for by a task just unparked, looks missing too.
            commands = [
                command
                for key, count in free.items()
                if (sure := min(count, self._idle.get(key, 0)))
                for command in divided(lines[key], sure)
            ]
            self._idle.update(free)
            if commands:
                await self._queue.control(commands)
            await asyncio.sleep(0)
        return bool(lines)

    async def _all(self) -> dict[LaneKey, list[Line]]:
        """The lines there are, by key: one may have several, in different pages."""
        lines: defaultdict[LaneKey, list[Line]] = defaultdict(list)
        after: str | None = None
        while True:
            page = await self._queue.parked(self._lanes, after, PAGE)
            for line in page.items:
                lines[line.lane, line.key].append(line)
            after = page.next
            if after is None:
                return lines
            await asyncio.sleep(0)

    async def _unpark_freed(self, semaphore: Semaphore) -> None:
        freed, self._freed = self._freed, defaultdict(int)
        parked, self._parked = self._parked, set()
        if parked:
            free = await self._free(semaphore, sorted(parked))
            for key, count in free.items():
                freed[key] = max(freed[key], count)
        if sum(key not in self._known for key in freed) > 1:
            with suppress(BrokerError):  # else each is served, as if it had a line
                await self._drop_lineless(freed)
        commands = [Unpark(lane, key, count) for (lane, key), count in freed.items() if count]
        if commands:
            await self._queue.control(commands)

    async def _drop_lineless(self, freed: dict[LaneKey, int]) -> None:
        """Forget those that nobody waits for: one question instead of a command for each.

        A line that comes after it has heard the answer of a semaphore that had the permits back:
        whoever parks a task looks whether its key is free by then.
        """
        page = await self._queue.parked(self._lanes, None, FEW)
        self._known.update(found := {(line.lane, line.key) for line in page.items})
        self._seen |= found
        if page.next is None:
            for key in freed.keys() - found:
                del freed[key]

    async def _free(
        self, semaphore: Semaphore, keys: Sequence[LaneKey], bold: dict[LaneKey, int] | None = None
    ) -> dict[LaneKey, int]:
        """How many permits of each key nobody holds; where it has no limit now, 1 or as ``bold``.

        Its limit was removed, and the whole line may go; or nobody has said it since it was last
        used, and the next task of the line will. So ``bold`` grows from look to look, until there
        is a limit again.
        """
        infos = await semaphore.inspect([task_key(lane, key) for lane, key in keys])
        free = {}
        for key, info in zip(keys, infos, strict=True):
            step = 1 if bold is None else bold.pop(key, 1)
            if info.limit is not None:
                free[key] = max(0, info.limit - len(info.holders))
                continue
            free[key] = step
            if bold is not None:
                bold[key] = min(PAGE, BOLDER * step)
        return free


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
