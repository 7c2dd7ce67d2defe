"""``Records`` over another one, for tests of what happens between two of its calls."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from xqueue_core.errors import Unavailable
from xqueue_core.stored.records import Group, Log, Now, Records, Row, Scan


class SlowRecords(Records):
    """One process's connection: gives way around every call, counts calls, can be cut.

    ``before_swap`` is called once, by the next swap, before it changes anything.

    Args:
        records: the store.
        rng: says how often the loop turns around each call; None for not at all.
    """

    def __init__(self, records: Records, rng: random.Random | None = None) -> None:
        self._records = records
        self._rng = rng
        self.calls: Counter[str] = Counter()
        self.cut = False
        self.before_swap: Callable[[], Awaitable[None]] | None = None

    async def _step(self, name: str) -> None:
        self.calls[name] += 1
        await self._turn()
        if self.cut:
            raise Unavailable("the store is cut off")

    async def _turn(self) -> None:
        for _ in range(self._rng.randrange(4) if self._rng else 0):
            await asyncio.sleep(0)

    async def now(self) -> Now:
        await self._step("now")
        now = await self._records.now()
        await self._turn()
        return now

    async def load(self, keys: Sequence[str]) -> Sequence[Row | None]:
        await self._step("load")
        rows = await self._records.load(keys)
        await self._turn()
        return rows

    async def swap(self, groups: Sequence[Group]) -> Sequence[bool]:
        await self._step("swap")
        first, self.before_swap = self.before_swap, None
        if first is not None:
            await first()
        done = await self._records.swap(groups)
        await self._turn()
        return done

    async def scan(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        await self._step("scan")
        return await self._records.scan(scans)

    async def due(self, limit: int) -> tuple[Sequence[Row], float | None]:
        await self._step("due")
        return await self._records.due(limit)

    async def counts(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        await self._step("counts")
        return await self._records.counts(prefix, after, limit)

    async def log(self, after: int | None, limit: int) -> Log:
        await self._step("log")
        return await self._records.log(after, limit)

    async def trim(self, before: float) -> None:
        await self._step("trim")
        await self._records.trim(before)
