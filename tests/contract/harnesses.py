"""How the kit opens the backends of this repository."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from xqueue_core.abc import Backend
from xqueue_core.conformance import BackendHarness, Harness
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.records import Change, Group
from xqueue_memory import MemoryBackend
from xqueue_sqlite import SqliteBackend

LOOPS = ("asyncio", "uvloop")


async def _unheard(topics: Collection[str]) -> None:
    """Ring nothing."""


class StoredHarness(BackendHarness):
    """A backend over ``Records``, which can be damaged by writing a row, and whose bell can be
    made to ring no more: one object per namespace, which all of this process share."""

    async def mute(self, namespace: str) -> None:
        """Whatever is rung from now on is heard by nobody."""
        async with self.open(namespace, {}) as faces:
            assert isinstance(faces.queue, StoredQueue)
            bell: Any = faces.queue._tasks.bell
            bell.ring = _unheard

    async def corrupt(self, namespace: str, id: str) -> None:
        """Write bytes that are no MessagePack where the task's record was."""
        async with self.open(namespace, {}) as faces:
            assert isinstance(faces.queue, StoredQueue)
            records = faces.queue._records
            row = (await records.load([f"t/{id}"]))[0]
            assert row is not None
            bad = Change(row.key, row.version, b"R\xc1\xc1", row.bucket, row.order)
            assert list(await records.swap([Group([bad])])) == [True]


def memory() -> Harness:
    """The memory backend: every namespace is a store of its own."""
    backend = MemoryBackend()

    def settings(namespace: str, changes: Mapping[str, Any]) -> Any:
        return backend.Settings(namespace=namespace, **changes)

    return StoredHarness(backend, settings, name="memory", loops=LOOPS)


def sqlite(durability: str, folder: str | Path) -> Harness:
    """The SQLite backend in one durability mode, with one file for all cases."""
    backend: Backend = SqliteBackend()
    path = str(Path(folder) / f"{durability}.db")
    # In another process: this function, by its name.
    child = (f"{__name__}:sqlite", durability, str(folder))

    def settings(namespace: str, changes: Mapping[str, Any]) -> Any:
        return backend.Settings(path=path, namespace=namespace, durability=durability, **changes)

    name = f"sqlite-{durability}"
    return StoredHarness(backend, settings, name=name, loops=LOOPS, child=child)


def scratch() -> Path:
    """A folder that goes when this process ends."""
    folder = tempfile.mkdtemp(prefix="xqueue-kit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def every_harness() -> Iterator[Harness]:
    """All backends of this repository that need no server, in all their modes."""
    yield memory()
    folder = scratch()
    for durability in ("process", "power"):
        yield sqlite(durability, folder)
