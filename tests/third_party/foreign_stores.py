"""A pytest plugin that puts foreign stores in the place of ours, for the suite of ``Records``.

``pytest -p third_party.foreign_stores tests/unit/test_records.py``
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.records import Records

#: The reference first: other stores are compared with it.
KINDS = ("memory", "logfile-process", "logfile-power", "logfile-small", "sql")


@asynccontextmanager
async def open_records(
    kind: str, folder: Path, clock: Clock = host_clock, namespace: str = "xqueue"
) -> AsyncIterator[Records]:
    """Open a store of this kind in this folder."""
    from xqueue_logfile import LogRecords  # type: ignore[import-not-found, unused-ignore]

    from third_party.sql_records.xqueue_sql.records import SqlRecords
    from xqueue_memory import MemoryRecords

    name, _, mode = kind.partition("-")
    if name == "memory":
        yield MemoryRecords(clock)
        return
    store: LogRecords | SqlRecords
    if name == "sql":
        store = SqlRecords(str(folder / f"{namespace}.db"), clock)
    else:
        # "small": made small after every few changes.
        slack = 5 if mode == "small" else 10_000
        store = LogRecords(folder / f"{namespace}.log", mode == "power", clock, slack)
    try:
        yield store
    finally:
        store.close()


def pytest_configure() -> None:
    """Before any test module takes the names from there."""
    from support import stores

    vars(stores).update(KINDS=KINDS, open_records=open_records)
