"""One open file: its desks and its bell, how they are opened and closed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from xqueue_core.errors import Refused
from xqueue_core.stored.clock import Clock, host_clock
from xqueue_sqlite.bell import SharedBell
from xqueue_sqlite.connection import FileOptions, Patience, connect, prepare_tables
from xqueue_sqlite.desk import Desk
from xqueue_sqlite.forking import quiet
from xqueue_sqlite.here import ReadsHere
from xqueue_sqlite.link import Link
from xqueue_sqlite.place import MOUNTS, Identity, prepare
from xqueue_sqlite.reader import Read, Reader
from xqueue_sqlite.statements import Statements
from xqueue_sqlite.there import check_there
from xqueue_sqlite.writer import Swap, Trim, Writer

#: What a forked child says that cannot be sure of SQLite's locks.
TAINTED = (
    "{} cannot be used in this process: it was forked while a thread of its parent used the file, "
    "or waited for it, and would write without locks; fork when nothing is under way, or start "
    "processes by `spawn` or `forkserver`"
)


class Store:
    """An open file, for any number of event loops.

    Making one starts to open it, in threads; nothing blocks. :meth:`started` says how it went,
    and :meth:`close` is due in any case.
    """

    def __init__(self, path: str, options: FileOptions, clock: Clock, mounts: Path) -> None:
        self.clock = clock
        self._given = path
        self._pid = os.getpid()
        self._options = options
        self._mounts = mounts
        self._statements = Statements(options.namespace)
        self._patience = Patience(options.busy_timeout)
        self._bell: SharedBell | None = None
        # In the order in which they were made. Threads put in and take out by one step each, within
        # ``quiet``, and who walks through it is alone.
        self._links: dict[Link, None] = {}
        quiet.watch(self)
        self._writes = Desk("xqueue-sqlite-writer", self._make_writer, path)
        self._reads = Desk("xqueue-sqlite-reader", self._make_reader, path)

    async def started(self) -> None:
        """Wait until the file is open.

        Raises:
            NoDatabase: it is not there, and is not to be made.
            ConfigError: it cannot be used.
            Unavailable: another process holds it.
        """
        await self._writes.opened()
        await self._reads.opened()

    async def close(self) -> None:
        """Finish what was asked, unless another process is in the way, and close everything.

        In a forked child: do nothing.
        """
        if os.getpid() != self._pid:
            return  # a thread that is not here may have been waiting, and hold the patience's lock
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
        made: list[Link] = []
        try:
            await self._reads.ask(Read(partial(self._another, made), (), 1))
        except BaseException:  # cancelled, it may have been made all the same
            with quiet:
                for link in made:
                    link.close()
            raise
        [link] = made
        here = ReadsHere(Reader(link, self._identity, self._statements), self)
        try:
            yield here
        finally:
            here.close()

    def inherited(self) -> Iterable[object]:
        """Connections that a fork has not closed."""
        return [link.open for link in self._links if link.open is not None]

    def let_go(self) -> None:
        """Close every connection, until it is needed again."""
        for link in self._links:
            with suppress(sqlite3.Error):  # it stays open, and the child finds it so
                link.let_go()

    # -- in the desks' threads -----------------------------------------------------------------

    def _make_writer(self) -> Writer:
        with quiet:
            return self._writer()

    def _writer(self) -> Writer:
        self._refuse_tainted()
        make = self._options.make
        path = prepare(self._given, self._mounts, make=make)
        if not make:
            check_there(path, self._statements, self._patience)
        self._identity = identity = Identity.of(path)
        link = self._link(path, self._options)
        try:
            prepare_tables(link.connection, path, self._statements, self._patience, make=make)
            self._bell = SharedBell(path + "-bell", self._options.namespace)
        except BaseException:
            link.close()
            raise
        return Writer(link, identity, self._patience, self._statements, self.clock)

    def _make_reader(self) -> Reader:
        self._writes.wait_opened()
        with quiet:
            link = self._link(self._identity.path, self._options, reading=True)
        return Reader(link, self._identity, self._statements)

    def _another(self, made: list[Link], *_: object) -> None:
        """Make a connection for short reads, which are not to wait."""
        options = replace(self._options, busy_timeout=0.0)
        made.append(self._link(self._identity.path, options, reading=True))

    def _link(self, path: str, options: FileOptions, *, reading: bool = False) -> Link:
        """A connection, within ``quiet``."""
        self._refuse_tainted()
        connecting = partial(connect, path, options, self._patience, reading=reading)
        link = Link(connecting, lambda gone: self._links.pop(gone, None))
        self._links[link] = None
        return link

    def _refuse_tainted(self) -> None:
        """Before anything is opened, be it to read: SQLite may believe that it holds the locks."""
        if quiet.tainted:
            raise Refused(TAINTED.format(self._given))


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
