"""A queue on Redis whose clock stands still, for tests of the faces that only look."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from services import Server
from xqueue_core.calls import Beat, Cancel, Did, Put, Settle, Want
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import AnyOutcome, Task
from xqueue_redis.address import Address
from xqueue_redis.connection import Blocking, Link
from xqueue_redis.queue import RedisQueue
from xqueue_redis.scripts import Scripts

#: What the clock says at first.
BEGAN = 1_800_000_000.0


class WatchedLink(Link):
    """A link with a clock that tests set.

    Attributes:
        client: of redis-py, for what the backend would not do; its types are too loose to check.
        calls: how often each script has run.
        blocked: connections that are in use for reads that block.
    """

    def __init__(self, server: Server, client: Any) -> None:
        address = Address(hosts=(("127.0.0.1", server.port),))
        super().__init__(address, "test", Scripts("key"))
        self.client = client
        self.calls: Counter[str] = Counter()
        self.blocked = 0

    async def run(self, name: str, *arguments: Any, deadline: float | None = None) -> Any:
        """Run a script."""
        self.calls[name] += 1
        return await super().run(name, *arguments, deadline=deadline)

    @asynccontextmanager
    async def blocking(self) -> AsyncIterator[Blocking]:
        """A connection of its own."""
        async with super().blocking() as connection:
            self.blocked += 1
            try:
                yield connection
            finally:
                self.blocked -= 1

    async def now(self, at: float) -> None:
        """Set the broker's clock."""
        await self.client.set(f"{self.prefix}clock", repr(at))


class Tasks:
    """One worker, and whoever submits to it."""

    def __init__(self, link: Link) -> None:
        self._queue = RedisQueue(link, StoredOptions())
        self._call = 0

    async def put(self, *tasks: Task) -> None:
        """Submit tasks; all of them are new."""
        assert {one.put for one in await self._queue.put(tasks)} <= {Put.NEW}

    async def lease(self, lane: str, n: int) -> Sequence[tuple[str, int]]:
        """Ids and tokens of the next n tasks of a lane."""
        # As if no answer had come yet, for what a worker has and does not name is handed back.
        await self._queue.extend(Beat(worker="w", answered=0), [])
        self._call += 1
        leased = await self._queue.lease([Want(lane, n)], n, self._call, "w", 0)
        return [(one.task.id, one.token) for one in leased.deliveries]

    async def settle(self, id: str, token: int, outcome: AnyOutcome) -> None:
        """End a delivery."""
        await self._queue.settle([Settle(id, token, outcome)])

    async def cancel(self, id: str) -> None:
        """Cancel a task that waits."""
        [verdict] = await self._queue.control([Cancel(id, "enough")])
        assert verdict.did is Did.APPLIED
