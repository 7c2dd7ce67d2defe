"""``Records`` and ``Bell`` over a socket, with the errors of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from support.socketstore.frames import frame, read
from support.socketstore.server import FORGOTTEN, FULL
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.stored.records import Bell, Group, Log, Now, Records, Row, Scan, Wait

#: Seconds within which the server answers, beside what a call may wait.
DEADLINE = 2.0
#: Seconds of a wait for a doorbell that is out of order.
BLIND = 0.05


class Connection:
    """One connection, used by one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def made(cls, address: tuple[str, int]) -> Connection:
        """Connect. Raises Unavailable."""
        try:
            async with asyncio.timeout(DEADLINE):
                return cls(*await asyncio.open_connection(*address))
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"no connection to {address[0]}:{address[1]}: {error}") from error

    @property
    def usable(self) -> bool:
        return not self._reader.at_eof() and not self._writer.transport.is_closing()

    async def ask(self, message: Any, wait: float = 0.0) -> Any:
        """Send and read the reply. Raises OSError (TimeoutError is one) and EOFError."""
        async with asyncio.timeout(DEADLINE + wait):
            self._writer.write(frame(message))
            return await read(self._reader)

    def abort(self) -> None:
        self._writer.transport.abort()


class Pool:
    """Connections to the server; each call takes one for itself."""

    def __init__(self, address: tuple[str, int], namespace: str) -> None:
        self.address = address
        self.namespace = namespace
        self._idle: list[Connection] = []
        self._numbers: dict[str, int] = {}

    async def ask(self, name: str, *args: Any, writes: bool = False) -> Any:
        """One operation. Raises Unavailable, or Unknown if it writes and may have happened."""
        kind, answer = await self._once(name, args, writes)
        while kind == FORGOTTEN:  # so it was not carried out
            self.forget(name)
            kind, answer = await self._once(name, args, writes)
        if kind == FULL:
            raise Unavailable("the server has no room")
        return answer

    def forget(self, name: str) -> None:
        self._numbers.pop(name, None)

    async def _once(self, name: str, args: Sequence[Any], writes: bool) -> tuple[str, Any]:
        if name not in self._numbers:
            [_, self._numbers[name]] = await self.send("learn", [name])
        kind, answer = await self.send(self._numbers[name], list(args), writes=writes)
        return kind, answer

    async def send(self, request: int | str, args: list[Any], *, writes: bool = False) -> Any:
        """One request and its reply."""
        while self._idle and not self._idle[-1].usable:
            self._idle.pop().abort()
        connection = self._idle.pop() if self._idle else await Connection.made(self.address)
        try:
            reply = await connection.ask([request, self.namespace, args])
        except (OSError, EOFError) as error:
            connection.abort()
            raise self.failure(error, writes) from error
        except BaseException:  # cancelled: the reply is still to come
            self.cancelled(connection)
            raise
        self._idle.append(connection)
        return reply

    def failure(self, error: Exception, writes: bool) -> Exception:
        """What to raise when no reply came."""
        text = f"no reply from {self.address[0]}:{self.address[1]}: {error!r}"
        return Unknown(text) if writes else Unavailable(text)

    def cancelled(self, connection: Connection) -> None:
        """What becomes of the connection of a call that was cancelled."""
        connection.abort()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()


class SocketRecords(Records):
    """The server's records in one namespace."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def now(self) -> Now:
        return Now(*await self._pool.ask("now"))

    async def load(self, keys: Sequence[str]) -> list[Row | None]:
        found = await self._pool.ask("load", list(keys))
        return [Row(*row) if row else None for row in found]

    async def swap(self, groups: Sequence[Group]) -> list[bool]:
        done = await self._pool.ask("swap", list(groups), writes=True)
        return msgspec.convert(done, list[bool])

    async def scan(self, scans: Sequence[Scan]) -> list[list[Row]]:
        found = await self._pool.ask("scan", list(scans))
        return [[Row(*row) for row in rows] for rows in found]

    async def due(self, limit: int) -> tuple[list[Row], float | None]:
        rows, coming = await self._pool.ask("due", limit)
        return [Row(*row) for row in rows], coming

    async def counts(self, prefix: str, after: str, limit: int) -> list[tuple[str, int]]:
        return [(name, n) for name, n in await self._pool.ask("counts", prefix, after, limit)]

    async def log(self, after: int | None, limit: int) -> Log:
        return Log(*await self._pool.ask("log", after, limit))

    async def trim(self, before: float) -> None:
        await self._pool.ask("trim", before)


class SocketBell(Bell):
    """The server's doorbell; while it is out of order, whoever waits looks now and then."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ring(self, topics: Collection[str]) -> None:
        with suppress(Unavailable):  # a ring may be lost
            await self._pool.ask("ring", sorted(topics))

    @asynccontextmanager
    async def listen(self, topics: Collection[str]) -> AsyncIterator[Wait]:
        line = await self._line(sorted(topics))

        async def wait(seconds: float) -> None:
            nonlocal line
            if line is not None:
                try:
                    await line.ask(seconds, wait=seconds)
                    return
                except (OSError, EOFError):
                    line.abort()
                    line = None
            await asyncio.sleep(min(seconds, BLIND))

        try:
            yield wait
        finally:
            if line is not None:
                line.abort()

    async def _line(self, topics: list[str]) -> Connection | None:
        line = None
        try:
            line = await Connection.made(self._pool.address)
            await line.ask(["listen", self._pool.namespace, topics])
        except (OSError, EOFError, Unavailable):
            if line is not None:
                line.abort()
            return None
        except BaseException:
            if line is not None:
                line.abort()
            raise
        return line


#: Makes a pool: other ones are broken on purpose.
PoolFactory = Callable[[tuple[str, int], str], Pool]
