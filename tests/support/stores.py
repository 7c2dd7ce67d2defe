"""Every ``Records`` of this repository, opened for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.records import ABSENT, Change, Group, Now, Records
from xqueue_memory import MemoryRecords
from xqueue_sqlite import SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.store import opened

#: Names of the stores that the suite of ``Records`` runs over.
KINDS = ("memory", "sqlite-process", "sqlite-power")


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    wall: float = 1_000_000.0
    steady: float = 500.0
    epoch: str = "epoch"

    def __call__(self) -> Now:
        return Now(self.wall, self.steady, self.epoch)


@asynccontextmanager
async def open_records(
    kind: str, folder: Path, clock: Clock = host_clock, namespace: str = "xqueue"
) -> AsyncIterator[Records]:
    """Open a store of this kind in this folder."""
    name, _, durability = kind.partition("-")
    if name == "memory":
        yield MemoryRecords(clock)
        return
    options = FileOptions(durability=durability, namespace=namespace)
    async with opened(str(folder / "test.db"), options, clock) as store:
        yield SqliteRecords(store)


def make(key: str, body: bytes = b"", bucket: str = "", order: int = 0) -> Group:
    """A group that makes one row."""
    return Group([Change(key, ABSENT, body, bucket, order)])
