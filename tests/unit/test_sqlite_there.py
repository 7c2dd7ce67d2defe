"""Opening a file of SQLite in which nothing is to be made."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from xqueue_core.errors import ConfigError, NoDatabase, Unavailable
from xqueue_core.stored.records import Change, Group
from xqueue_sqlite import there
from xqueue_sqlite.connection import FileOptions, Patience
from xqueue_sqlite.records import SqliteRecords
from xqueue_sqlite.statements import Statements
from xqueue_sqlite.store import opened
from xqueue_sqlite.there import check_there

pytestmark = pytest.mark.anyio

STATEMENTS = Statements("xqueue")
ONLY = FileOptions(make=False, busy_timeout=0.2)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "a ?#%.db")  # what has a meaning in a URI


def check(path: str) -> None:
    check_there(path, STATEMENTS, Patience(0.2))


async def test_a_file_that_is_there_is_opened_and_written(path: str) -> None:
    async with opened(path, FileOptions()):
        pass
    check(path)
    async with opened(path, ONLY) as store:
        records = SqliteRecords(store)
        assert await records.swap([Group([Change("a", 0, b"x", "", 0, None)])]) == [True]
        check(path)  # while its tables may lie in the log alone
        assert [row and row.body for row in await records.load(["a"])] == [b"x"]


async def test_a_file_that_is_not_there_is_not_made(path: str) -> None:
    with pytest.raises(NoDatabase, match="there is no database"):
        async with opened(path, ONLY):
            pass
    assert os.listdir(os.path.dirname(path)) == []


def test_what_is_no_database_is_told_so(path: str) -> None:
    Path(path).write_text("nothing of the kind, and longer than a header is: " * 20)
    with pytest.raises(ConfigError, match="no SQLite database"):
        check(path)


def test_a_file_that_is_held_is_unavailable(path: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma journal_mode = wal")
        db.execute("create table users (name)")
        db.execute("pragma locking_mode = exclusive")
        db.execute("begin exclusive")
        with pytest.raises(Unavailable, match="database is locked"):
            check(path)


@pytest.mark.parametrize("trouble", [False, True])
def test_tables_that_another_makes_meanwhile_are_found(
    path: str, monkeypatch: pytest.MonkeyPatch, trouble: bool
) -> None:
    """Whether the first look saw the file before, or in the midst of a change."""
    Path(path).touch()
    read: Callable[[str, str], set[str]] = there._read
    others: list[sqlite3.Connection] = []

    def slow(path: str, how: str) -> set[str]:
        found = read(path, how)
        if not others:
            others.append(sqlite3.connect(path, isolation_level=None))
            others[0].execute("pragma journal_mode = wal")
            others[0].execute("create table xq_schema (version)")
            for statement in STATEMENTS.create:
                others[0].execute(statement)
            if trouble:
                raise sqlite3.DatabaseError("database disk image is malformed")
        return found

    monkeypatch.setattr(there, "_read", slow)
    check(path)
    others[0].close()


async def test_a_newer_file_is_refused_though_nothing_is_made(path: str) -> None:
    async with opened(path, FileOptions()):
        pass
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update xq_schema set version = 99")
    with pytest.raises(ConfigError, match="newer XQueue"):
        async with opened(path, ONLY):
            pass
