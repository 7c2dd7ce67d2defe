"""A bell that needs no ringing."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from xqueue_core.stored import Bell
from xqueue_core.stored.records import Wait


class FileBell(Bell):
    """There is no news that does not change the file: any change rings for every topic."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ring(self, topics: Collection[str]) -> None:
        pass  # the commit before it was the ring

    @asynccontextmanager
    async def listen(self, topics: Collection[str]) -> AsyncIterator[Wait]:
        seen, clock = os.stat(self._path)[:7], asyncio.get_running_loop().time

        async def wait(seconds: float) -> None:
            nonlocal seen
            end = clock() + seconds
            while (left := end - clock()) > 0 and os.stat(self._path)[:7] == seen:
                await asyncio.sleep(min(0.01, left))
            seen = os.stat(self._path)[:7]

        yield wait
