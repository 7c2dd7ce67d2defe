"""A broker for tests: a process that keeps ``Records`` and serves them over a socket.

``python -m support.socketstore.server PORT JOURNAL [lazy]``; it says ``ready`` once it listens.
What was changed is in its journal before it is answered, so that it survives SIGKILL; ``lazy``
is one that writes later.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from support.socketstore.frames import encode, frame, read
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.records import Change, Group, Scan
from xqueue_memory import MemoryRecords

OK, FULL, FORGOTTEN = "ok", "full", "forgotten"

_groups = msgspec.msgpack.Decoder(list[Group]).decode


class Stores:
    """The records of every namespace, and the journal of their changes."""

    def __init__(self, journal: Path, lazy: bool = False) -> None:
        self.records: dict[str, MemoryRecords] = {}
        self.bells: dict[str, LocalBell] = {}
        self._journal = journal
        self._file = journal.open("ab", buffering=100_000_000 if lazy else 0)

    def of(self, namespace: str) -> MemoryRecords:
        return self.records.setdefault(namespace, MemoryRecords())

    def bell(self, namespace: str) -> LocalBell:
        return self.bells.setdefault(namespace, LocalBell())

    async def replay(self) -> None:
        """Do again what the journal says; what was half written was never answered."""
        journal, at = memoryview(self._journal.read_bytes()), 0
        while (begin := at + 4) <= len(journal):
            at = begin + int.from_bytes(journal[at:begin], "big")
            if at > len(journal):
                break
            namespace, groups = msgspec.msgpack.decode(journal[begin:at], type=tuple[str, bytes])
            await self.of(namespace).swap(_groups(groups))

    async def swap(self, namespace: str, groups: list[Group]) -> Sequence[bool]:
        verdicts = await self.of(namespace).swap(groups)
        self._file.write(frame([namespace, encode(groups)]))
        return verdicts


class Server:
    """Answers requests: the number of an operation, a namespace, arguments.

    A client asks for the number of an operation by its name, and is told when it no longer holds.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._full: bool | str = False  # "all": nothing can be written at all
        # Numbers that no server before this one gave.
        self._next = itertools.count(time.time_ns())
        self._numbers: dict[int, str] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                number, namespace, args = await read(reader)
                if number == "listen":
                    await self._listen(namespace, args, reader, writer)
                    return
                writer.write(frame(await self._answer(number, namespace, args)))
                await writer.drain()
        except (EOFError, OSError):
            pass
        finally:
            writer.close()

    async def _answer(self, number: int | str, namespace: str, args: list[Any]) -> list[Any]:
        if isinstance(number, int):
            if number not in self._numbers:
                return [FORGOTTEN, None]
            return await self._do(self._numbers[number], namespace, args)
        match number:
            case "learn":
                learned = next(self._next)
                self._numbers[learned] = args[0]
                return [OK, learned]
            case "flush":
                self._numbers.clear()
                return [OK, None]
            case "fill":
                self._full = args[0]
                return [OK, None]
        raise ValueError(f"no such request: {number}")

    async def _do(self, name: str, namespace: str, args: list[Any]) -> list[Any]:
        records = self._stores.of(namespace)
        match name:
            case "swap":
                groups = msgspec.convert(args[0], list[Group])
                if self._full == "all" or (self._full and await self._grows(records, groups)):
                    return [FULL, None]
                return [OK, await self._stores.swap(namespace, groups)]
            case "ring":
                self._stores.bell(namespace).sound(args[0])
                return [OK, None]
            case "scan":
                return [OK, await records.scan(msgspec.convert(args[0], list[Scan]))]
        return [OK, await getattr(records, name)(*args)]

    @staticmethod
    async def _grows(records: MemoryRecords, groups: list[Group]) -> bool:
        """True if these make a row: there is room for changing those that are there."""
        changes: list[Change] = [one for group in groups for one in group.changes]
        rows = await records.load([one.key for one in changes])
        return any(
            row is None and one.body is not None for one, row in zip(changes, rows, strict=True)
        )

    async def _listen(
        self,
        namespace: str,
        topics: list[str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """From now on the client sends how long it waits, and is answered when that is over."""
        async with self._stores.bell(namespace).listen(topics) as rung:
            writer.write(frame([OK, None]))
            while True:
                await rung(await read(reader))
                writer.write(frame([OK, None]))
                await writer.drain()


@asynccontextmanager
async def serving(port: int, journal: Path, lazy: bool = False) -> AsyncIterator[asyncio.Server]:
    """Listen on this port of the loopback interface within the context."""
    stores = Stores(journal, lazy)
    await stores.replay()
    server = Server(stores)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port, backlog=1_000)
    try:
        yield listening
    finally:
        listening.close()


async def main(port: int, journal: Path, lazy: bool) -> None:
    async with serving(port, journal, lazy) as server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), "lazy" in sys.argv[3:]))
