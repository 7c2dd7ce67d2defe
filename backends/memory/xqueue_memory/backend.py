"""The memory backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import Capabilities
from xqueue_core.findings import Finding, Level
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.lending import lent
from xqueue_memory.records import MemoryRecords

if TYPE_CHECKING:
    from xqueue_memory.settings import MemorySettings


class _Store(NamedTuple):
    records: MemoryRecords
    bell: LocalBell


class MemoryBackend(Backend):
    """Stores that live as long as this object, shared by all who open it in this process.

    Args:
        clock: the clocks of every store.
    """

    def __init__(self, clock: Clock = host_clock) -> None:
        self._clock = clock
        self._stores: dict[tuple[str, str], _Store] = {}

    @property
    def Settings(self) -> type[MemorySettings]:
        """The settings model."""
        from xqueue_memory.settings import MemorySettings

        return MemorySettings

    def capabilities(self, settings: MemorySettings) -> Capabilities:
        """Everything, but for one process and until it ends."""
        return Capabilities(shared=False, durable=False, dedupe_horizon=settings.dedupe_horizon)

    def open(
        self, settings: MemorySettings, role: Role = Role.CLIENT
    ) -> AbstractAsyncContextManager[Faces]:
        """Open the named store, which is made on first use; closing keeps it.

        The faces refuse every call behind their context, as those of any backend.
        """
        return self._open(settings)

    async def examine(self, settings: MemorySettings, seconds: float) -> AsyncIterator[Finding]:
        """What is in the store of this process, and that nothing of it is kept."""
        store = self._stores.get((settings.store, settings.namespace))
        if store is None:
            yield Finding("store", Level.OK, "nothing in it: it is made at the first use")
        else:
            yield Finding("store", Level.OK, f"{len(store.records)} rows")
        yield Finding(
            "durability",
            Level.WARNING,
            "nothing survives the end of this process",
            "for more than tests take sqlite:///xqueue.db",
        )

    @asynccontextmanager
    async def _open(self, settings: MemorySettings) -> AsyncIterator[Faces]:
        from xqueue_core.stored import faces

        new = _Store(MemoryRecords(self._clock), LocalBell())
        # setdefault is one step: two threads that open at once get the same store.
        store = self._stores.setdefault((settings.store, settings.namespace), new)
        with lent(store.records, "this opening of the memory backend") as records:
            yield faces(records, store.bell, settings.options(), self.capabilities(settings))
