"""What the SQLite backend tells ``xqueue doctor``."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xqueue_core.findings import Finding, Level
from xqueue_memory import MemoryBackend
from xqueue_sqlite import SqliteBackend, examining
from xqueue_sqlite.place import MOUNTS
from xqueue_sqlite.statements import SCHEMA


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database that was opened and closed as it should be."""
    path = tmp_path / "q.db"

    async def main() -> None:
        backend = SqliteBackend()
        async with backend.open(backend.Settings(path=str(path))):
            pass

    asyncio.run(main())
    return path


def examined(
    path: Path, mounts: Path = MOUNTS, seconds: float = 10.0, **settings: Any
) -> dict[str, Finding]:
    """What is found, by check."""

    async def main() -> list[Finding]:
        backend = SqliteBackend(mounts=mounts)
        own = backend.Settings(path=str(path), **settings)
        return [one async for one in backend.examine(own, seconds)]

    found = asyncio.run(main())
    assert len({one.check for one in found}) == len(found), "each check is named once"
    for one in found:
        assert one.level is Level.OK or one.advice, f"{one.check}: what is there to do?"
    return {one.check: one for one in found}


def levels(found: dict[str, Finding]) -> dict[str, Level]:
    return {name: one.level for name, one in found.items() if one.level is not Level.OK}


def test_all_is_well(file: Path) -> None:
    before = file.read_bytes()
    found = examined(file)
    assert levels(found) == {}
    assert found["file"].detail == str(file)
    assert "nobody is seen" in found["leftovers"].detail
    assert found["permissions"].detail == "600"
    assert file.read_bytes() == before
    assert sorted(one.name for one in file.parent.iterdir()) == ["q.db", "q.db-bell"]


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert levels(examined(tmp_path / "q.db")) == {"file": Level.WARNING}
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    found = examined(tmp_path / "none" / "q.db")
    assert levels(found) == {"file": Level.ERROR}
    assert "there is no folder" in found["file"].detail
    assert "make it" in found["file"].advice


def test_a_network_file_system(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs4 rw 0 0\n")
    found = examined(tmp_path / "q.db", mounts)
    assert levels(found) == {"file system": Level.ERROR}
    assert "nfs4" in found["file system"].detail


@pytest.mark.parametrize(
    ("durability", "expected"), [("process", {}), ("power", {"file system": Level.ERROR})]
)
def test_a_file_system_in_memory(file: Path, durability: str, expected: dict[str, Level]) -> None:
    mounts = file.parent / "mounts"
    mounts.write_text(f"t {file.parent} tmpfs rw 0 0\n")
    assert levels(examined(file, mounts, durability=durability)) == expected


@pytest.mark.parametrize(
    ("mib", "level"), [(300, Level.OK), (200, Level.WARNING), (15, Level.ERROR)]
)
def test_a_disk_that_fills(
    file: Path, monkeypatch: pytest.MonkeyPatch, mib: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=mib << 20))
    assert examined(file)["disk"].level is level


def test_a_file_that_all_users_may_read(file: Path) -> None:
    file.chmod(0o644)
    found = examined(file)
    assert levels(found) == {"permissions": Level.WARNING}
    assert "644" in found["permissions"].detail


def test_a_file_beside_it_that_belongs_to_another_user(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "allowed", lambda path, mode: not path.endswith("-bell"))
    found = examined(file)
    assert levels(found) == {"permissions": Level.ERROR}
    assert f"{file}-bell" in found["permissions"].detail


DIES = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("INSERT INTO xq_schema SELECT 1 WHERE 0")
db.execute("CREATE TABLE more (a)")
if len(sys.argv) > 2:
    print("open", flush=True)
    sys.stdin.read()
os._exit(9)
"""


def test_what_a_dead_process_has_left_and_a_living_one_has_open(file: Path) -> None:
    command = [sys.executable, "-c", DIES, str(file)]
    with subprocess.Popen(
        [*command, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        found = examined(file)
        assert levels(found) == {}
        assert f"open in {process.pid}" in found["leftovers"].detail
        process.stdin.close()
        assert process.wait(30) == 9
    found = examined(file)
    assert levels(found) == {"leftovers": Level.WARNING}
    assert f"{file}-wal" in found["leftovers"].detail


def test_who_has_it_open_may_not_be_told(tmp_path: Path) -> None:
    assert examining.holders(str(tmp_path / "q.db"), tmp_path) is None
    (tmp_path / "self").mkdir()
    assert examining.holders(str(tmp_path / "q.db"), tmp_path) == []


def test_a_version_that_is_too_old(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "OLDEST", (99, 0, 0))
    assert levels(examined(file)) == {"sqlite": Level.ERROR}


def test_a_short_busy_timeout_and_another_journal_mode(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
    found = examined(file, busy_timeout=0.5)
    assert levels(found) == {"busy timeout": Level.WARNING, "log": Level.WARNING}
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",), "nothing is changed"


def test_a_log_that_is_not_copied(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "LONG_LOG", 1_000)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE more (a)")
        assert levels(examined(file)) == {"log": Level.WARNING}


def test_a_lock_that_another_keeps(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        found = examined(file, busy_timeout=1.0)
    assert levels(found) == {"lock": Level.ERROR}
    assert "locked" in found["lock"].detail
    assert "end what keeps a transaction open" in found["lock"].advice


def test_a_file_that_another_keeps_to_itself(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("CREATE TABLE more (a)")
        found = examined(file, busy_timeout=0.3, seconds=3.0)
    assert levels(found)["lock"] is Level.ERROR
    assert "integrity" not in found


def test_tables_of_another_program_and_of_a_newer_version(file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("UPDATE xq_schema SET version = ?", (SCHEMA + 1,))
        other.commit()
    assert levels(examined(file)) == {"tables": Level.ERROR}
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE users (name)")
    foreign.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert levels(examined(foreign)) == {"tables": Level.WARNING}


def test_a_file_that_nears_its_bound(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("CREATE TABLE more (a)")
        other.executemany("INSERT INTO more VALUES (?)", [(bytes(4_000),)] * 64)
        other.execute("COMMIT")
    assert levels(examined(file, max_pages=72)) == {"size": Level.WARNING}
    assert levels(examined(file, max_pages=1_000)) == {}


def test_a_damaged_file(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("CREATE TABLE more (a)")
        other.executemany("INSERT INTO more VALUES (?)", [(bytes(4_000),)] * 64)
        other.execute("COMMIT")
    with file.open("r+b") as damaged:
        damaged.seek(20 * 4_096)
        damaged.write(os.urandom(20 * 4_096))
    found = examined(file)
    assert levels(found) == {"integrity": Level.ERROR}
    assert ".recover" in found["integrity"].advice


def test_the_look_at_a_large_file_ends_in_time(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE more (a)")
        other.execute("BEGIN")
        other.executemany("INSERT INTO more VALUES (?)", [(bytes(50),)] * 50_000)
        other.execute("COMMIT")
    began = time.monotonic()
    found = examined(file, seconds=0.0)
    assert levels(found) == {}
    assert "too large" in found["integrity"].detail
    assert "quick_check" in found["integrity"].advice
    assert time.monotonic() - began < 20


def test_memory_says_what_is_in_it_and_that_nothing_is_kept() -> None:
    async def main() -> list[list[str]]:
        backend, found = MemoryBackend(), []
        settings = backend.Settings()
        found.append([one.detail async for one in backend.examine(settings, 1)])
        async with backend.open(settings) as faces:
            await faces.queue.maintain(0.1)
            found.append([one.detail async for one in backend.examine(settings, 1)])
        return found

    before, after = asyncio.run(main())
    assert before == ["nothing in it: it is made at the first use", before[1]]
    assert after[0].endswith(" rows")
    assert "nothing survives" in after[1]
