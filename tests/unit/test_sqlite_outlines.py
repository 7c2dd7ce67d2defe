"""How SQLite finds rows without reading their bodies."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.stores import make
from xqueue_core.stored.records import Scan
from xqueue_sqlite import SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.statements import SCAN_SIZES, Statements
from xqueue_sqlite.store import opened

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _indexes(path: str) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        return {name for (name,) in found if not name.startswith("sqlite_")}


@pytest.mark.parametrize("size", SCAN_SIZES)
def test_an_outline_reads_an_index_alone(size: int) -> None:
    statements = Statements("xqueue")
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements.create:
            connection.execute(statement)
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN {statements.outline(size)}", (None, 0, "", 0) * size
        ).fetchall()
    told = [text for *_, text in plan if "xq_xqueue_rows" in text]
    assert len(told) == size
    assert all("COVERING INDEX xq_xqueue_places" in text for text in told)


async def test_a_file_of_before_gets_the_index(tmp_path: Path) -> None:
    path = str(tmp_path / "test.db")
    async with opened(path, FileOptions()) as store:
        await SqliteRecords(store).swap([make("a", b"body", "bucket", 7)])
    new = _indexes(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX xq_xqueue_places")
        connection.execute("CREATE INDEX xq_xqueue_scan ON xq_xqueue_rows (bucket, ord)")
        connection.commit()
    async with opened(path, FileOptions()) as store:
        [[row]] = await SqliteRecords(store).outline([Scan("bucket", 9)])
        assert (row.key, row.body, row.order) == ("a", b"", 7)
    assert _indexes(path) == new
