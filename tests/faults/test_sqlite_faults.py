"""What happens to a SQLite store when its file, its folder or its disk fails it."""

# ruff: noqa: ASYNC230, ASYNC240 - a test may wait for the disk
from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.stores import make
from xqueue_core.errors import BrokerGone, ConfigError, Refused, Unavailable
from xqueue_core.stored.clock import host_clock
from xqueue_core.stored.records import ANY, Change, Group, Scan
from xqueue_sqlite import SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.place import MOUNTS, filesystem
from xqueue_sqlite.statements import SCHEMA
from xqueue_sqlite.store import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

#: A body of which each needs a page of its own.
PAGE = bytes(3_000)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "test.db")


@asynccontextmanager
async def store(
    path: str, mounts: Path = MOUNTS, max_pages: int | None = None
) -> AsyncIterator[SqliteRecords]:
    options = FileOptions(busy_timeout=0.3, max_pages=max_pages)
    async with opened(path, options, host_clock, mounts) as store:
        yield SqliteRecords(store)


async def refused(path: str, mounts: Path = MOUNTS) -> str:
    """The message with which opening this file fails."""
    with pytest.raises(ConfigError) as caught:
        async with store(path, mounts):
            pass
    return str(caught.value)


async def keys(records: SqliteRecords) -> list[str]:
    (rows,) = await records.scan([Scan("b", 100_000)])
    return [row.key for row in rows]


# -- a place that will not do ------------------------------------------------------------------


async def test_a_missing_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in await refused(str(tmp_path / "none" / "test.db"))
    assert not (tmp_path / "none").exists()


async def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    assert "is a folder" in await refused(str(tmp_path))


@pytest.mark.parametrize("path", ["", ":memory:"])
async def test_no_file_at_all(path: str) -> None:
    assert "memory://" in await refused(path)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
async def test_a_network_file_system(tmp_path: Path, kind: str) -> None:
    share = tmp_path / "a share"
    share.mkdir()
    point = str(share).replace(" ", "\\040")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {point} {kind} rw 0 0\n")
    message = await refused(str(share / "test.db"), mounts)
    assert kind in message
    assert not (share / "test.db").exists()
    async with store(str(tmp_path / "test.db"), mounts) as records:
        assert await records.swap([make("a")]) == [True]


def test_the_file_system_of_a_path(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("a / ext4 rw 0 0\nb /x nfs rw 0 0\nc /x/y ext4 rw 0 0\nd /x/y xfs rw 0 0\n")
    paths = ["/x", "/x/z", "/x/y/z", "/xy", "/z"]
    assert [filesystem(path, mounts) for path in paths] == ["nfs", "nfs", "xfs", "ext4", "ext4"]
    assert filesystem("/x", tmp_path / "none") == ""


# -- a file that will not do -------------------------------------------------------------------


async def test_something_else_than_a_database(path: str) -> None:
    content = b"Dear diary, " * 1_000
    Path(path).write_bytes(content)
    assert path in await refused(path)
    assert Path(path).read_bytes() == content


async def test_a_damaged_file(path: str) -> None:
    async with store(path) as records:
        await records.swap([make(f"{number}", PAGE, "b", number) for number in range(300)])
    with open(path, "r+b") as file:
        file.seek(8 * 4_096)
        file.write(os.urandom(os.path.getsize(path) - 8 * 4_096))
    async with store(path) as records:
        with pytest.raises(Refused, match=r"damaged.*recover") as caught:
            await keys(records)
        assert path in str(caught.value)
        with pytest.raises(Refused, match="damaged"):
            await records.swap([make(f"{number}", PAGE) for number in range(1_000)])


async def test_a_newer_schema(path: str) -> None:
    async with store(path) as records:
        await records.swap([make("a")])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE xq_schema SET version = ?", (SCHEMA + 1,))
    assert "upgrade xqueue-core" in await refused(path)


async def test_another_encoding(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA encoding = 'UTF-16'")
        connection.execute("CREATE TABLE other (x)")
    assert "UTF-8" in await refused(path)


async def test_a_file_removed_while_it_is_open(path: str) -> None:
    async with store(path) as records:
        await records.swap([make("a")])
        os.remove(path)
        for call in (records.swap([make("b")]), records.load(["a"]), records.trim(0.0)):
            with pytest.raises(BrokerGone, match="removed or replaced"):
                await call


async def test_a_file_replaced_while_it_is_open(path: str) -> None:
    async with store(path) as records:
        await records.swap([make("a")])
        os.rename(path, path + ".old")
        async with store(path) as others:
            with pytest.raises(BrokerGone, match="removed or replaced"):
                await records.swap([make("b")])
            assert await others.load(["a"]) == [None]


# -- no room -----------------------------------------------------------------------------------


async def fill(records: SqliteRecords) -> tuple[list[str], str]:
    """Write until there is no room: what was accepted, and the message that ended it."""
    accepted: list[str] = []
    while True:
        names = [f"{len(accepted) + number:06}" for number in range(5)]
        try:
            groups = [Group([Change(name, 0, PAGE, "b")], [b"e"], {"n": 1}) for name in names]
            assert await records.swap(groups) == [True] * 5
        except Unavailable as error:
            return accepted, str(error)
        accepted += names


async def check_full(records: SqliteRecords, accepted: list[str], message: str, path: str) -> None:
    """Nothing accepted is missing, nothing else is there, and reading works."""
    assert path in message
    assert "free space" in message
    assert accepted
    assert await keys(records) == accepted
    assert await records.counts("", "", 9) == [("n", len(accepted))]
    log = await records.log(0, 100_000)
    assert sum(len(events) for _, events in log.entries) == len(accepted)


async def test_a_full_file(path: str) -> None:
    async with store(path, max_pages=200) as records:
        accepted, message = await fill(records)
        await check_full(records, accepted, message, path)
        # What makes room still works.
        room = Group([Change(accepted.pop(), ANY, None)], (), {"n": -1})
        assert await records.swap([room]) == [True]
        await records.trim(host_clock().wall + 1)
    async with store(path, max_pages=400) as records:
        assert await keys(records) == accepted
        assert await records.swap([make("more", PAGE, "b", 1)]) == [True]


async def test_a_full_file_fails_only_who_asks_for_too_much(path: str) -> None:
    async with store(path, max_pages=200) as records:
        small = [make(f"small {number}", b"x", "b") for number in range(3)]
        large = [make(f"large {number}", PAGE) for number in range(1_000)]
        calls = [records.swap(small[:1]), records.swap(large), records.swap(small[1:])]
        first, failed, last = await asyncio.gather(*calls, return_exceptions=True)
        assert (first, last) == ([True], [True, True])
        assert isinstance(failed, Unavailable)


def full_disk(story: str, path: str) -> dict[str, Any]:
    """What a process finds out whose files may not grow beyond a limit."""
    done = subprocess.run(
        [sys.executable, "-m", "support.full_disk", story, path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_disk_that_is_full(path: str) -> None:
    """What was accepted is there, of an answer that is unknown all or nothing, and no more."""
    said = full_disk("fill", path)
    assert path in said["error"]
    assert said["accepted"]
    assert said["found"] in (said["accepted"], said["accepted"] + said["unknown"])
    assert said["counted"] == [["n", len(said["found"])]]
    assert said["events"] == len(said["found"])
    # As soon as there is room it goes on, without a restart.
    assert said["written"] == [True]
    assert said["after"] == [*said["found"], "more"]


def test_opening_on_a_disk_that_is_full(path: str) -> None:
    said = full_disk("open", path)
    assert said["type"] == "Unavailable", said
    assert path in said["error"]
