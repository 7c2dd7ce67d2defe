"""XQueue on a SQL database: settings, bell and backend over :class:`SqlRecords`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from pydantic import Field

from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import Capabilities
from xqueue_core.stored import Bell, faces
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.records import Wait
from xqueue_core.stored.settings import StoredSettings

from .records import SqlRecords


class SqlSettings(StoredSettings):
    """``sql:///relative-folder`` or ``sql:////absolute/folder``."""

    path: str = Field("xqueue-sql", min_length=1, description="The folder of the databases.")


class PollBell(Bell):
    """Wakes at once within the process, and else now and then: whoever wakes looks again."""

    def __init__(self) -> None:
        self._local = LocalBell()

    async def ring(self, topics: Collection[str]) -> None:
        await self._local.ring(topics)

    @asynccontextmanager
    async def listen(self, topics: Collection[str]) -> AsyncIterator[Wait]:
        async with self._local.listen(topics) as rung:

            async def wait(seconds: float) -> None:
                await rung(min(seconds, 0.02))

            yield wait


class SqlBackend(Backend):
    """One SQLite file for each namespace."""

    Settings = SqlSettings

    def __init__(self, clock: Clock = host_clock) -> None:
        self._clock = clock
        self._bell = PollBell()

    def capabilities(self, settings: SqlSettings) -> Capabilities:
        return Capabilities(dedupe_horizon=settings.dedupe_horizon)

    @asynccontextmanager
    async def open(self, settings: SqlSettings, role: Role = Role.CLIENT) -> AsyncIterator[Faces]:
        os.makedirs(settings.path, exist_ok=True)
        records = SqlRecords(f"{settings.path}/{settings.namespace}.db", self._clock)
        try:
            yield faces(records, self._bell, settings.options(), self.capabilities(settings))
        finally:
            records.close()
