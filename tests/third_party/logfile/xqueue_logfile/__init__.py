"""XQueue on an append-only file, for the processes of one host."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import Field

from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import Capabilities
from xqueue_core.stored import faces
from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.settings import StoredSettings

from .bell import FileBell
from .records import LogRecords


class LogSettings(StoredSettings):
    """``logfile:///relative-folder`` or ``logfile:////absolute/folder``."""

    path: str = Field("xqueue-log", min_length=1, description="The folder of the files.")

    @property
    def file(self) -> Path:
        return Path(self.path).absolute() / f"{self.namespace}.log"


class LogBackend(Backend):
    """One file for each namespace, whose processes all see the same."""

    Settings = LogSettings

    def __init__(self, clock: Clock = host_clock) -> None:
        self._clock = clock

    def capabilities(self, settings: LogSettings) -> Capabilities:
        return Capabilities(shared=True, durable=True, dedupe_horizon=settings.dedupe_horizon)

    @asynccontextmanager
    async def open(self, settings: LogSettings, role: Role = Role.CLIENT) -> AsyncIterator[Faces]:
        records = LogRecords(settings.file, settings.durability == "power", self._clock)
        bell, able = FileBell(settings.file), self.capabilities(settings)
        try:
            yield faces(records, bell, settings.options(), able)
        finally:
            records.close()
