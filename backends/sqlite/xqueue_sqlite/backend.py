"""The SQLite backend."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import Capabilities
from xqueue_core.findings import Finding
from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.lending import lent
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.forking import quiet
from xqueue_sqlite.place import MOUNTS
from xqueue_sqlite.records import SqliteRecords
from xqueue_sqlite.store import Store

if TYPE_CHECKING:
    from xqueue_sqlite.settings import SqliteSettings

_Key: TypeAlias = tuple[int, str, FileOptions]


class SqliteBackend(Backend):
    """One file, for several processes on one host.

    Whoever opens the same file through one object, on whatever event loop, shares its threads
    and connections.

    Args:
        clock: the clocks to use in place of the host's.
        mounts: where the system lists what is mounted.
    """

    def __init__(self, clock: Clock = host_clock, mounts: Path = MOUNTS) -> None:
        self._clock = clock
        self._mounts = mounts
        self._lock = threading.Lock()
        self._stores: dict[_Key, tuple[Store, int]] = {}  # with how many have it open
        quiet.watch(self)

    @property
    def Settings(self) -> type[SqliteSettings]:
        """The settings model."""
        from xqueue_sqlite.settings import SqliteSettings

        return SqliteSettings

    def capabilities(self, settings: SqliteSettings) -> Capabilities:
        """Everything, on one host."""
        return Capabilities(dedupe_horizon=settings.dedupe_horizon)

    def open(
        self, settings: SqliteSettings, role: Role = Role.CLIENT
    ) -> AbstractAsyncContextManager[Faces]:
        """Open the file, which is made if there is none; its folder must exist.

        Raises:
            NoDatabase: there is none, and ``make`` says that none is to be made.
            ConfigError: the file cannot be used; the message says what to do.
            Unavailable: another process holds it for longer than ``busy_timeout``.
        """
        return self._open(settings, role)

    async def examine(self, settings: SqliteSettings, seconds: float) -> AsyncIterator[Finding]:
        """Place, rights, room, who has the file open, version, locks, log, and its integrity."""
        from xqueue_sqlite.examining import contents, place

        end = time.monotonic() + seconds
        for look in (place, contents):
            # In two steps: a file that hangs does not hide what is known of its place.
            for finding in await asyncio.to_thread(look, settings, self._mounts, end):
                yield finding

    @asynccontextmanager
    async def _open(self, settings: SqliteSettings, role: Role) -> AsyncIterator[Faces]:
        from xqueue_core.stored import faces

        options = settings.file_options()
        # The process is part of the key: a forked child opens the file for itself.
        key = (os.getpid(), settings.path, options)
        store = self._take(key)
        try:
            await store.started()
            async with AsyncExitStack() as stack:
                here = None
                if role is Role.WORKER:
                    here = await stack.enter_async_context(store.reads_here())
                records = stack.enter_context(lent(SqliteRecords(store, here), settings.path))
                yield faces(records, store.bell, settings.options(), self.capabilities(settings))
        finally:
            await self._give_back(key)

    def _take(self, key: _Key) -> Store:
        with self._lock:
            store, users = self._stores.get(key, (None, 0))
            if store is None:
                store = Store(key[1], key[2], self._clock, self._mounts)
            self._stores[key] = (store, users + 1)
            return store

    async def _give_back(self, key: _Key) -> None:
        with self._lock:
            store, users = self._stores[key]
            if users > 1:
                self._stores[key] = (store, users - 1)
                return
            del self._stores[key]
        await store.close()

    def let_go(self) -> None:
        """Before a fork: each store does so by itself."""

    def inherited(self) -> Iterable[object]:
        """In a forked child: the parent may have held the lock."""
        self._lock = threading.Lock()
        return ()
