"""What the SQLite backend leaves behind, keeps apart and accepts as settings."""

# ruff: noqa: ASYNC240 - a test may wait for the disk
from __future__ import annotations

import asyncio
import gc
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from support.stores import make
from xqueue_core.errors import ConfigError, Refused
from xqueue_core.stored.records import Change, Group, Records
from xqueue_memory import MemoryBackend
from xqueue_sqlite import SqliteBackend, SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.store import opened

pytestmark = pytest.mark.anyio

#: A body of which each needs a page of its own.
PAGE = bytes(3_000)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "test.db")


@asynccontextmanager
async def store(path: str, namespace: str = "xqueue") -> AsyncIterator[SqliteRecords]:
    async with opened(path, FileOptions(namespace=namespace)) as store:
        yield SqliteRecords(store)


# -- what is left behind -----------------------------------------------------------------------


def _open_files() -> list[str]:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return sorted(os.readlink(link) for link in links if link.is_symlink())


async def test_opening_and_closing_leaves_nothing(path: str) -> None:
    async with store(path) as records:
        await records.swap([make("a")])
    threads, files = set(threading.enumerate()), _open_files()
    for _ in range(10):
        async with opened(path, FileOptions()) as both:
            async with both.bell.listen(["a"]) as wait:
                await both.bell.ring(["a"])
                await wait(1.0)
            await SqliteRecords(both).load(["a"])
        with pytest.raises(ConfigError):
            async with store(path + "/none"):
                pass
    gc.collect()
    assert set(threading.enumerate()) == threads
    assert _open_files() == files
    assert sorted(os.listdir(os.path.dirname(path))) == ["test.db", "test.db-bell"]


async def test_calls_after_closing_are_refused(path: str) -> None:
    async with store(path) as records:
        pass
    for call in (records.swap([make("a")]), records.load(["a"])):
        with pytest.raises(Refused, match="closed"):
            await call


async def test_only_the_owner_may_read_the_files(path: str) -> None:
    old = os.umask(0)
    try:
        async with store(path) as records:
            await records.swap([make("a")])
            folder = Path(path).parent
            modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    finally:
        os.umask(old)
    names = ["test.db", "test.db-bell", "test.db-shm", "test.db-wal"]
    assert modes == dict.fromkeys(names, 0o600)


async def test_the_path_is_logged(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(os.path.dirname(path))
    with caplog.at_level(logging.INFO, "xqueue.sqlite"):
        async with store("test.db"):
            pass
    assert caplog.messages[0] == f"database {os.path.realpath(path)}"


async def test_the_write_ahead_log_stays_small(path: str) -> None:
    most = 0
    async with store(path) as records:
        for start in range(0, 10_000, 200):
            await records.swap([make(f"{start + n}", PAGE) for n in range(200)])
            most = max(most, os.path.getsize(path + "-wal"))
    assert os.path.getsize(path) > 30e6
    assert most < 10e6


async def test_a_long_reader_lets_the_write_ahead_log_grow_only_while_it_reads(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xqueue_sqlite.writer._WAL_MOST", 1_000_000)
    monkeypatch.setattr("xqueue_sqlite.writer._WAIT_AGAIN", 0.0)

    async def write(records: SqliteRecords, name: str) -> int:
        for start in range(0, 1_000, 100):
            await records.swap([make(f"{name} {start + n}", PAGE) for n in range(100)])
        return os.path.getsize(path + "-wal")

    async with store(path) as records:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM xq_schema").fetchall()
            grown = await write(records, "one")
            assert grown > 3_000_000
            assert len(await records.load(["one 0"])) == 1
            reader.execute("ROLLBACK")
        assert await write(records, "two") <= grown + 2_000_000
        assert await write(records, "three") <= grown + 2_000_000


async def test_a_reader_that_stands_still_is_waited_for_now_and_then_alone(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With each commit, it kept all writers waiting until it went on."""
    monkeypatch.setattr("xqueue_sqlite.writer._WAL_MOST", 1_000_000)
    waits: list[str] = []
    async with opened(path, FileOptions()) as both:
        records = SqliteRecords(both)
        (writer, _) = list(both.inherited())
        assert isinstance(writer, sqlite3.Connection)
        writer.set_trace_callback(lambda sql: waits.append(sql) if "RESTART" in sql else None)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM xq_schema").fetchall()
            for start in range(0, 2_000, 100):
                await records.swap([make(f"{start + n}", PAGE) for n in range(100)])
            assert len(waits) == 1
            reader.execute("ROLLBACK")


# -- namespaces, durability --------------------------------------------------------------------


async def everything(records: Records) -> list[object]:
    return [await records.load(["a"]), await records.counts("", "", 9), await records.log(0, 9)]


async def test_namespaces_are_kept_apart(path: str) -> None:
    names = ["a", "a-rows", "sqlite", "x" * 32, "0-9"]
    group = Group([Change("a", 0, b"", "b")], [b"e"], {"n": 1})
    after: list[object] = []
    for name in names:
        async with store(path, name) as records:
            before = await everything(records)
            assert before == [[None], [], ([], 1, 0)]
            assert await records.swap([group]) == [True]
            after.append(await everything(records))
    for name, wanted in zip(names, after, strict=True):
        async with store(path, name) as records:
            assert await everything(records) == wanted


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
async def test_durability_is_what_sqlite_is_told(path: str, durability: str, level: int) -> None:
    async with opened(path, FileOptions(durability=durability)) as both:
        (writer, _) = list(both.inherited())
        assert isinstance(writer, sqlite3.Connection)
        assert writer.execute("PRAGMA synchronous").fetchone() == (level,)
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# -- the backend -------------------------------------------------------------------------------


async def test_who_opens_the_same_file_shares_its_threads(path: str) -> None:
    backend = SqliteBackend()
    settings = backend.Settings(path=path)
    threads = threading.active_count()
    async with backend.open(settings), backend.open(settings):
        assert threading.active_count() == threads + 2
        async with backend.open(settings.model_copy(update={"namespace": "other"})):
            assert threading.active_count() == threads + 4
        async with backend.open(settings):
            pass
        assert threading.active_count() == threads + 2
    assert threading.active_count() == threads


async def test_a_file_that_failed_to_open_can_be_opened_later(tmp_path: Path) -> None:
    backend = SqliteBackend()
    settings = backend.Settings(path=str(tmp_path / "later" / "test.db"))
    for _ in range(2):
        with pytest.raises(ConfigError):
            async with backend.open(settings):
                pass
    (tmp_path / "later").mkdir()
    async with backend.open(settings):
        pass


async def test_opening_can_be_cancelled(path: str) -> None:
    backend = SqliteBackend()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), backend.open(backend.Settings(path=path)):
                pass
    async with backend.open(backend.Settings(path=path)):
        pass


def test_capabilities() -> None:
    sqlite, memory = SqliteBackend(), MemoryBackend()
    found = sqlite.capabilities(sqlite.Settings(dedupe_horizon=60))
    assert (found.shared, found.durable, found.dedupe_horizon) == (True, True, 60)
    found = memory.capabilities(memory.Settings(dedupe_horizon=60))
    assert (found.shared, found.durable, found.dedupe_horizon) == (False, False, 60)


@pytest.mark.parametrize(
    "wrong",
    [
        {"namespace": "a_b"},
        {"namespace": ""},
        {"durability": "none"},
        {"busy_timeout": 0},
        {"max_pages": 1},
        {"path": ""},
        {"dedupe_horizon": float("nan")},
        {"unknown": 1},
    ],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SqliteBackend().Settings.model_validate(wrong)


def test_importing_the_backends_loads_no_pydantic() -> None:
    code = (
        "import sys, xqueue_memory, xqueue_sqlite\n"
        "xqueue_memory.MemoryBackend(), xqueue_sqlite.SqliteBackend()\n"
        "print(*(name for name in sys.modules if name.startswith('pydantic')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


# -- cancellation ------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
async def test_what_a_cancelled_call_changes_is_changed_before_it_ends(
    path: str, times: int
) -> None:
    async with store(path) as records:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            change = Group([Change("k", 0, b"")])
            swap = asyncio.create_task(records.swap([change]))
            await asyncio.wait([swap], timeout=0.2)  # until it waits for the other
            for _ in range(times):
                swap.cancel()
                await asyncio.wait([swap], timeout=0.05)
            gone = asyncio.create_task(records.swap([Group([Change("late", 0, b"")])]))
            await asyncio.sleep(0)
            other.execute("COMMIT")
        with pytest.raises(asyncio.CancelledError):
            await swap
        changed = (await records.load(["k"]))[0] is not None
        await gone
        assert ((await records.load(["k"]))[0] is not None) == changed
