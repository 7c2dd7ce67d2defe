"""Short reads on a worker's own loop, without a hop to the reader's thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.workers import until
from xqueue_core.errors import Refused
from xqueue_core.stored.records import Change, Group, Scan
from xqueue_sqlite import reader
from xqueue_sqlite import store as stores
from xqueue_sqlite.connection import FileOptions, connect
from xqueue_sqlite.here import ReadsHere
from xqueue_sqlite.reader import Read
from xqueue_sqlite.records import SqliteRecords
from xqueue_sqlite.store import opened

Threads = list[str]


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Threads:
    """The names of the threads in which rows are loaded, scanned and counted."""
    seen: Threads = []
    for name in ("load", "scan", "counts"):
        monkeypatch.setattr(reader, name, _noting(getattr(reader, name), seen))
    return seen


def _noting(query: Callable[..., Any], seen: Threads) -> Callable[..., Any]:
    def noting(*args: object) -> object:
        seen.append(threading.current_thread().name)
        return query(*args)

    return noting


@asynccontextmanager
async def records(path: Path) -> AsyncIterator[tuple[SqliteRecords, ReadsHere]]:
    """Records with reads on this loop, and one row ``a`` in the bucket ``b``."""
    async with opened(str(path / "x.db"), FileOptions()) as store, store.reads_here() as here:
        found = SqliteRecords(store, here)
        assert await found.swap([Group([Change("a", 0, b"body", "b")])]) == [True]
        yield found, here


def test_short_reads_stay_on_the_loop(tmp_path: Path, readers: Threads) -> None:
    async def main() -> None:
        async with records(tmp_path) as (found, _):
            [row] = await found.load(["a"])
            assert row is not None
            assert row.body == b"body"
            assert [[row]] == await found.scan([Scan("b", 10)])
            assert await found.counts("c/", "", 10) == []

    asyncio.run(main())
    assert set(readers) == {threading.current_thread().name}


def test_connections_that_are_closed_for_good_are_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(str(tmp_path / "x.db"), FileOptions()) as store:
            own = set(store._links)
            assert len(own) == 2
            for _ in range(3):
                async with store.reads_here(), store.reads_here():
                    assert len(store._links) == 4
            assert set(store._links) == own
        assert not store._links

    asyncio.run(main())


def test_a_connection_for_somebody_who_is_gone_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slowly(*args: Any, **more: Any) -> sqlite3.Connection:
        reached.set()
        go_on.wait(10)
        return connect(*args, **more)

    async def main() -> None:
        async with opened(str(tmp_path / "x.db"), FileOptions()) as store:
            own = set(store._links)
            monkeypatch.setattr(stores, "connect", slowly)
            context = store.reads_here()
            waiting = asyncio.create_task(context.__aenter__())
            await until("it connects", reached.is_set)
            waiting.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert set(store._links) == own

    asyncio.run(main())


def test_long_reads_do_not_hold_up_the_loop(tmp_path: Path, readers: Threads) -> None:
    async def main() -> None:
        async with records(tmp_path) as (found, _):
            [[row]] = await found.scan([Scan("b", 100_000)])
            assert row.key == "a"

    asyncio.run(main())
    assert readers == ["xqueue-sqlite-reader"]


def test_another_loop_is_served_by_the_reader(tmp_path: Path, readers: Threads) -> None:
    async def main() -> None:
        async with records(tmp_path) as (found, _):
            rows = await asyncio.to_thread(lambda: asyncio.run(_loaded(found)))
            assert rows == ["a"]

    async def _loaded(found: SqliteRecords) -> list[str]:
        return [row.key for row in await found.load(["a"]) if row]

    asyncio.run(main())
    assert readers == ["xqueue-sqlite-reader"]


def test_a_busy_file_is_waited_for_elsewhere(tmp_path: Path) -> None:
    tried: list[str] = []

    def once_busy(*_: object) -> str:
        tried.append(threading.current_thread().name)
        if len(tried) == 1:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return "read"

    async def main() -> None:
        async with records(tmp_path) as (_, here):
            assert await here.read(Read(once_busy, (), 1)) == "read"

    asyncio.run(main())
    assert tried == [threading.current_thread().name, "xqueue-sqlite-reader"]


def test_other_failures_are_the_callers(tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("no such table")

    async def main() -> None:
        async with records(tmp_path) as (_, here):
            with pytest.raises(Refused, match="no such table"):
                await here.read(Read(broken, (), 1))

    asyncio.run(main())


def test_a_closed_one_sends_reads_to_the_store(tmp_path: Path, readers: Threads) -> None:
    async def main() -> None:
        async with records(tmp_path) as (found, here):
            here.close()
            here.close()
            [row] = await found.load(["a"])
            assert row is not None

    asyncio.run(main())
    assert readers == ["xqueue-sqlite-reader"]
