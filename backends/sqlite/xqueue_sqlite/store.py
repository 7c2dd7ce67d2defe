"""One open file: its desks and its bell, how they are opened and closed."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from xqueue_core.stored.clock import Clock, host_clock
from xqueue_sqlite import forking
from xqueue_sqlite.bell import SharedBell
from xqueue_sqlite.connection import FileOptions, Patience, connect, prepare_tables
from xqueue_sqlite.desk import Desk
from xqueue_sqlite.here import ReadsHere
from xqueue_sqlite.place import MOUNTS, Identity, prepare
from xqueue_sqlite.reader import Read, Reader
from xqueue_sqlite.statements import Statements
from xqueue_sqlite.writer import Swap, Trim, Writer


class Store:
    """An open file, for any number of event loops.

    Making one starts to open it, in threads; nothing blocks. :meth:`started` says how it went,
    and :meth:`close` is due in any case.
    """

    def __init__(self, path: str, options: FileOptions, clock: Clock, mounts: Path) -> None:
        self.clock = clock
        self._given = path
        self._options = options
        self._mounts = mounts
        self._statements = Statements(options.namespace)
        self._patience = Patience(options.busy_timeout)
        self._bell: SharedBell | None = None
        self._connections: list[sqlite3.Connection] = []
        forking.watch(self)
        self._writes = Desk("xqueue-sqlite-writer", self._make_writer, path)
        self._reads = Desk("xqueue-sqlite-reader", self._make_reader, path)

    async def started(self) -> None:
        """Wait until the file is open.

        Raises:
            ConfigError: it cannot be used.
            Unavailable: another process holds it.
        """
        await self._writes.opened()
        await self._reads.opened()

    async def close(self) -> None:
        """Finish what was asked, unless another process is in the way, and close everything."""
        self._patience.end()
        # The writer last: the last connection closed tidies up the file.
        await self._reads.close()
        await self._writes.close()
        if self._bell is not None:
            await self._bell.close()

    @property
    def path(self) -> str:
        """The file, as it was found when it was opened."""
        return self._identity.path

    @property
    def bell(self) -> SharedBell:
        """The bell of all processes that have the file open."""
        assert self._bell is not None  # noqa: S101 - made before started() returns
        return self._bell

    async def write(self, work: Swap | Trim) -> Any:
        """Have a swap or trim done by the writer."""
        return await self._writes.ask(work)

    async def read(self, work: Read) -> Any:
        """Have a query answered by the reader."""
        return await self._reads.ask(work)

    @asynccontextmanager
    async def reads_here(self) -> AsyncIterator[ReadsHere]:
        """Answers for short reads on the running loop, by a connection of its own."""
        # Made by the reader's thread, so that opening it does not hold up the loop.
        connection = await self._reads.ask(Read(self._another, (), 1))
        here = ReadsHere(Reader(connection, self._identity, self._statements), self)
        try:
            yield here
        finally:
            here.close()

    def inherited(self) -> Iterable[object]:
        """What a forked child must not close."""
        return self._connections

    # -- in the desks' threads -----------------------------------------------------------------

    def _make_writer(self) -> Writer:
        with forking.quiet:
            return self._writer()

    def _writer(self) -> Writer:
        path = prepare(self._given, self._mounts)
        self._identity = identity = Identity.of(path)
        connection = connect(path, self._options, self._patience)
        self._connections.append(connection)
        try:
            prepare_tables(connection, path, self._statements, self._patience)
            self._bell = SharedBell(path + "-bell", self._options.namespace)
        except BaseException:
            connection.close()
            raise
        return Writer(connection, identity, self._patience, self._statements, self.clock)

    def _make_reader(self) -> Reader:
        self._writes.wait_opened()
        with forking.quiet:
            connection = self._reading(self._options)
        return Reader(connection, self._identity, self._statements)

    def _another(self, *_: object) -> sqlite3.Connection:
        """A connection for short reads, which are not to wait."""
        return self._reading(replace(self._options, busy_timeout=0.0))

    def _reading(self, options: FileOptions) -> sqlite3.Connection:
        connection = connect(self._identity.path, options, self._patience, reading=True)
        self._connections.append(connection)
        return connection


@asynccontextmanager
async def opened(
    path: str, options: FileOptions, clock: Clock = host_clock, mounts: Path = MOUNTS
) -> AsyncIterator[Store]:
    """Open a file, which is made if there is none. Raises what ``Store.started`` raises."""
    store = Store(path, options, clock, mounts)
    try:
        await store.started()
        yield store
    finally:
        await store.close()
