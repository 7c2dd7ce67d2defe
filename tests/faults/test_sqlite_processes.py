"""A SQLite store and other processes: ones that die, hold the file, fork, or may do little."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from support import counting_child, sqlite_child
from support.stores import make
from xqueue_core.errors import Unavailable
from xqueue_core.stored.records import Records, Scan
from xqueue_sqlite import SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.store import opened

TESTS = Path(__file__).parent.parent


@contextmanager
def child(script: object, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the context at the latest."""
    command = [sys.executable, str(script), *arguments]
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        command,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """The next line the process says."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def lines(what: str, path: Path) -> list[str]:
    """What the helper says until it ends."""
    with child(sqlite_child.__file__, what, str(path)) as process:
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0
    return said.splitlines()


# -- death -------------------------------------------------------------------------------------


async def _check_steps(records: Records, acked: dict[str, int]) -> None:
    """Row, count, step and event of a group are all there or none is; nothing acked is lost."""
    (rows,) = await records.scan([Scan("steps", 100_000)])
    total = len(rows)
    assert [int(row.body) for row in rows] == [*range(1, total + 1)]
    (row,) = await records.load(["total"])
    assert int(row.body if row else 0) == total
    assert await records.counts("", "", 9) == [("steps", total)]
    log = await records.log(0, 100_000)
    assert sum(len(events) for _, events in log.entries) == total
    found = {row.key for row in rows}
    assert found >= {f"{name} {n:06}" for name, last in acked.items() for n in range(last + 1)}


@pytest.mark.parametrize("writers", [1, 3])
def test_processes_killed_while_they_write(tmp_path: Path, writers: int) -> None:
    path = str(tmp_path / "test.db")
    acked: dict[str, int] = {}
    for round_ in range(4):
        names = [f"{round_}.{number}" for number in range(writers)]
        with counting(path, names) as processes:
            for name, process in zip(names, processes, strict=True):
                assert line(process) == "open"
                while (said := int(line(process))) < 20:
                    acked[name] = said
            for process in processes:
                process.send_signal(signal.SIGKILL)
            for name, process in zip(names, processes, strict=True):
                assert process.stdout is not None
                rest = [int(text) for text in process.stdout if text.endswith("\n")]
                acked[name] = max([acked[name], *rest])
        asyncio.run(_reopen_and_check(path, acked))


@contextmanager
def counting(path: str, names: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as stack:
        command = counting_child.__file__
        yield [stack.enter_context(child(command, path, name, "1000000")) for name in names]


async def _reopen_and_check(path: str, acked: dict[str, int]) -> None:
    async with opened(path, FileOptions()) as store:
        await _check_steps(SqliteRecords(store), acked)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- a file that is held -----------------------------------------------------------------------


def test_a_file_held_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "test.db"

    async def scenario() -> None:
        async with opened(str(path), FileOptions(busy_timeout=0.3)) as store:
            records = SqliteRecords(store)
            await records.swap([make("before")])
            with child(sqlite_child.__file__, "lock", str(path)) as process:
                assert line(process) == "locked"
                start = time.monotonic()
                with pytest.raises(Unavailable, match=r"test\.db.*busy_timeout"):
                    await records.swap([make("meanwhile")])
                assert 0.3 <= time.monotonic() - start < 5
                # Reading goes on.
                assert [row and row.key for row in await records.load(["before", "meanwhile"])] == [
                    "before",
                    None,
                ]
                with pytest.raises(Unavailable, match="busy_timeout"):
                    async with opened(str(path), FileOptions(busy_timeout=0.1)):
                        pass
                # Killed, it holds nothing any more.
                process.kill()
                process.wait()
            assert await records.swap([make("meanwhile")]) == [True]

    asyncio.run(scenario())


def test_a_write_waits_for_another_process(tmp_path: Path) -> None:
    path = tmp_path / "test.db"

    async def scenario() -> None:
        async with opened(str(path), FileOptions(busy_timeout=30.0)) as store:
            records = SqliteRecords(store)
            with child(sqlite_child.__file__, "lock", str(path)) as process:
                assert line(process) == "locked"
                writing = asyncio.ensure_future(records.swap([make("a")]))
                await records.load(["a"])
                assert not writing.done()
                assert process.stdin is not None
                process.stdin.close()
                assert await writing == [True]

    asyncio.run(scenario())


# -- forks -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_file_that_is_open_at_a_fork_is_not_open_in_the_child(tmp_path: Path) -> None:
    said = lines("fork", tmp_path / "test.db")
    assert len(said) == 5
    for refusal in said[:2]:
        assert refusal.startswith("Refused: ")
        assert "forked; open it here once more" in refusal
    assert said[2:] == ["child holds 0, then 0", "fine", "parent done"]
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM xq_xqueue_rows").fetchone() == (3,)


# -- rights and limits -------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may enter, which ``tmp_path`` is not."""
    folder = Path(tempfile.mkdtemp(prefix="xqueue-test-"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


def _make(path: Path) -> None:
    async def scenario() -> None:
        async with opened(str(path), FileOptions()) as store:
            await SqliteRecords(store).swap([make("a")])

    asyncio.run(scenario())


def test_a_user_who_may_write(public: Path) -> None:
    assert lines("nobody", public / "test.db") == ["fine"]


def test_a_file_that_may_not_be_written(public: Path) -> None:
    path = public / "test.db"
    _make(path)
    path.chmod(0o444)
    (said,) = lines("nobody", path)
    assert said.startswith(f"ConfigError: {path}")
    assert "read and write this file" in said


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_may_not_be_written(public: Path, exists: bool) -> None:
    path = public / "test.db"
    if exists:
        _make(path)
        path.chmod(0o666)
    public.chmod(0o555)
    (said,) = lines("nobody", path)
    assert said.startswith(f"ConfigError: {path}")
    assert f"folder {public}" in said


def test_a_bell_that_may_not_be_written(public: Path) -> None:
    path = public / "test.db"
    _make(path)
    path.chmod(0o666)
    (said,) = lines("nobody", path)
    assert said.startswith(f"ConfigError: {path}-bell")


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files by /proc")
def test_no_more_open_files(tmp_path: Path) -> None:
    (said,) = lines("few_files", tmp_path / "test.db")
    assert said.startswith(("Unavailable: ", "OSError: ")), said
