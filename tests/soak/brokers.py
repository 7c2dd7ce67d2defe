"""The brokers of a kill run, and what is done to one that is a process of its own."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import services
from services import KINDS, Server
from support.history.events import OutageBegan, OutageEnded
from support.history.writer import Writer, now

#: What ``--broker`` takes; "redis" is the oldest that is served.
NAMES = ("sqlite", "redis", *KINDS)


class Broker:
    """A broker at this URL, which a worker that stands still may keep from everybody else."""

    def __init__(self, url: str) -> None:
        self.url = url

    def held(self) -> bool:
        """True if nobody can write."""
        return False


class File(Broker):
    """SQLite."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self._path = path

    def held(self) -> bool:
        connection = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
        return False


class Served(Broker):
    """A server, which is killed and stopped as workers are.

    Attributes:
        kills: how often it was killed.
        stops: how often it stood still.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server.url)
        self._server = server
        self.kills = 0
        self.stops = 0

    async def kill(self, seconds: float, writer: Writer) -> None:
        """SIGKILL, and after so long a new process with the same data, until it answers."""
        writer.write(OutageBegan(at=now()))
        await asyncio.to_thread(self._server.kill)
        await asyncio.sleep(seconds)
        # In a thread that lives as long as this event loop, for the server ends with it.
        await asyncio.to_thread(self._server.start)
        writer.write(OutageEnded(at=now()))
        self.kills += 1

    async def stop(self, seconds: float, writer: Writer) -> None:
        """SIGSTOP for so long, then SIGCONT, until it answers."""
        writer.write(OutageBegan(at=now()))
        self._server.pause()
        await asyncio.sleep(seconds)
        self._server.resume()
        await asyncio.to_thread(self._server.wait)
        writer.write(OutageEnded(at=now()))
        self.stops += 1

    async def strikes(
        self,
        kills: int,
        stops: int,
        lease: float,
        until: float,
        writer: Writer,
        chance: random.Random,
    ) -> None:
        """Kill and stop it in turn by chance, spread over the time that is left.

        It is down for up to one lease and a half after a kill, and for two leases by a stop.
        """
        kinds = ["kill"] * kills + ["stop"] * stops
        chance.shuffle(kinds)
        begun = now()
        gap = (until - begun) / max(1, len(kinds))
        for n, kind in enumerate(kinds):
            await asyncio.sleep(begun + gap * (n + chance.random() * 0.5) - now())
            if kind == "kill":
                await self.kill(lease * chance.uniform(0.0, 1.5), writer)
            else:
                await self.stop(2 * lease, writer)


@contextmanager
def broker(name: str, folder: Path) -> Iterator[Broker]:
    """A broker whose data is durable, for as long as the context lasts.

    Raises:
        RuntimeError: the server cannot be had, or does not start.
    """
    if name == "sqlite":
        yield File(folder / "soak.db")
        return
    kind = "redis7" if name == "redis" else name
    with services.redis(kind, aof=True, appendfsync="always") as server:
        yield Served(server)
