"""Short reads without a hop to another thread."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING, Any

from xqueue_sqlite.connection import translated
from xqueue_sqlite.failures import Doing, is_busy
from xqueue_sqlite.reader import Read, Reader

if TYPE_CHECKING:
    from xqueue_sqlite.store import Store

#: Most rows read here: a few milliseconds of the loop's time.
_SHORT = 500


class ReadsHere:
    """Answers short reads on one event loop's own thread.

    For a worker's engine, whose loop does nothing else: a hop to another thread and back costs
    it more than a short read takes. Long reads, those that another connection is in the way of,
    and those from another loop go to the store's thread all the same.

    Args:
        reader: with a connection that never waits.
        store: the store it belongs to.
    """

    def __init__(self, reader: Reader, store: Store) -> None:
        self._reader = reader
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._closed = False

    async def read(self, work: Read) -> Any:
        """Answer a read."""
        if not self._mine(work):
            return await self._store.read(work)
        try:
            return self._reader.read(work)
        except sqlite3.Error as error:
            if not is_busy(error):
                raise translated(error, self._store.path, Doing.CALL) from error
        return await self._store.read(work)

    def close(self) -> None:
        """Disconnect; reads go to the store from now on. In a forked child: do nothing."""
        if os.getpid() == self._pid and not self._closed:
            self._closed = True
            self._reader.close()

    def _mine(self, work: Read) -> bool:
        return (
            work.weight <= _SHORT
            and not self._closed
            and asyncio.get_running_loop() is self._loop
            and os.getpid() == self._pid
        )
