"""A queue on a real Redis server whose scripts are told the time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from services import Server
from xqueue_redis.address import Address
from xqueue_redis.connection import Link
from xqueue_redis.scripts import Scripts


class ClockedLink(Link):
    """A link that tells the scripts what ``clock`` says (seconds)."""

    def __init__(self, port: int, clock: Callable[[], float], namespace: str) -> None:
        super().__init__(Address(hosts=(("127.0.0.1", port),)), namespace, Scripts("key"))
        self._clock = clock
        self._told: float | None = None

    async def run(self, name: str, *arguments: Any, deadline: float | None = None) -> Any:
        """Run a script, at this time."""
        now = self._clock()
        if now != self._told:
            self._told = now
            await super().command("SET", f"{self.prefix}clock", repr(now))
        return await super().run(name, *arguments, deadline=deadline)

    async def command(self, *arguments: Any, deadline: float | None = None) -> Any:
        """Give one command; ``TIME`` is answered by the clock."""
        if arguments == ("TIME",):
            return [str(part).encode() for part in divmod(int(self._clock() * 1e6), 1_000_000)]
        return await super().command(*arguments, deadline=deadline)


@asynccontextmanager
async def clocked(server: Server, clock: Callable[[], float]) -> AsyncIterator[ClockedLink]:
    """A link to a namespace of its own, of which nothing is left behind it."""
    link = ClockedLink(server.port, clock, uuid4().hex)
    try:
        yield link
        await link.command("FLUSHALL")
    finally:
        await link.close()
