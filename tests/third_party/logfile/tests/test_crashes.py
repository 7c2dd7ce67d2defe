"""What was answered survives; what was not is there in whole or not at all."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import xqueue_logfile  # type: ignore[import-not-found, unused-ignore]
from xqueue_logfile import LogRecords  # type: ignore[import-not-found, unused-ignore]

from xqueue_core.errors import ConfigError, Refused, Unavailable
from xqueue_core.stored.clock import host_clock
from xqueue_core.stored.records import ABSENT, ANY, Change, Group, Records, Scan

#: So little slack that every commit makes the file small.
ALWAYS = -1_000_000
COUNTING = str(Path(__file__).with_name("counting.py"))


@contextmanager
def opened(folder: Path, *, sync: bool = False, slack: int = 10_000) -> Iterator[Records]:
    store = LogRecords(folder / "test.log", sync, host_clock, slack)
    try:
        yield store
    finally:
        store.close()


async def put(store: Records, key: str, body: bytes = b"x") -> None:
    group = Group([Change(key, ANY, body, "all", alarm=5.0)], [key.encode()], {"puts": 1})
    assert await store.swap([group]) == [True]


async def keys(store: Records) -> list[str]:
    """The keys, after seeing that rows, alarms, counts and events agree."""
    [rows] = await store.scan([Scan("all", 10_000)])
    found = [row.key for row in rows]
    assert sorted(row.key for row in (await store.due(10_000))[0]) == found
    assert dict(await store.counts("", "", 9)) == ({"puts": len(found)} if found else {})
    log = await store.log(0, 10_000)
    assert sorted(e.decode() for _, events in log.entries for e in events) == found
    return found


def counting(folder: Path, name: str, times: int, slack: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", COUNTING, str(folder), name, str(times), str(slack)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def check_counts(store: Records) -> int:
    """Every step is there in whole, one after the other; how many there are."""
    [row] = await store.load(["total"])
    total = int(row.body) if row else 0
    [rows] = await store.scan([Scan("steps", 1_000_000)])
    assert [row.body for row in rows] == [b"%d" % n * 50 for n in range(1, total + 1)]
    assert await store.counts("", "", 9) == ([("steps", total)] if total else [])
    log = await store.log(0, 1_000_000)
    events = [int(event) for _, events in log.entries for event in events]
    assert events == list(range(1, total + 1))
    return total


# -- a torn tail -------------------------------------------------------------------------------


async def cut_short(folder: Path, whole: bytes, line: bytes) -> None:
    """For every beginning of the last line, and for one with zeros in it."""
    torn = [line[:size] for size in range(len(line))]
    torn += [bytes(len(line)), line[:20] + bytes(len(line) - 20), line[:20] + bytes(30) + b"\n"]
    for rest in torn:
        (folder / "test.log").write_bytes(whole + rest)
        with opened(folder) as reader, opened(folder) as writer:
            assert await keys(reader) == ["a", "b"]
            await put(writer, "c", b"shorter")
            assert await keys(reader) == await keys(writer) == ["a", "b", "c"]
        with opened(folder) as again:
            assert await keys(again) == ["a", "b", "c"]


def test_half_a_commit_does_not_count_and_is_written_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        with opened(tmp_path) as store:
            await put(store, "a")
            await put(store, "b")
            whole = (tmp_path / "test.log").read_bytes()
            await put(store, "torn", b"long" * 20)
        line = (tmp_path / "test.log").read_bytes()[len(whole) :]
        await cut_short(tmp_path, whole, line)

    asyncio.run(scenario())


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        with opened(tmp_path) as store:
            await put(store, "a")
            size = (tmp_path / "test.log").stat().st_size
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            # In the middle of the next line; Python has the signal ignored.
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
            try:
                with pytest.raises(Unavailable, match="full"):
                    await put(store, "b")
                assert (tmp_path / "test.log").stat().st_size == size + 20
                assert await keys(store) == ["a"]
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            await put(store, "c")
            assert await keys(store) == ["a", "c"]

    asyncio.run(scenario())


@pytest.mark.parametrize("line", [0, 1, 2])
def test_damage_before_the_end_is_refused_and_left_as_it_is(tmp_path: Path, line: int) -> None:
    async def scenario() -> None:
        with opened(tmp_path) as store:
            for key in "abcd":
                await put(store, key)
        path = tmp_path / "test.log"
        lines = path.read_bytes().splitlines(keepends=True)
        start = sum(map(len, lines[:line]))
        lines[line] = lines[line].replace(b"all", b"oll")
        path.write_bytes(damaged := b"".join(lines))
        with opened(tmp_path) as store:
            assert await keys(store) == list("abcd")[:line]
            with pytest.raises(Refused, match=f"damaged at byte {start}:"):
                await put(store, "e")
        assert path.read_bytes() == damaged

    asyncio.run(scenario())


# -- killed writers ----------------------------------------------------------------------------


@pytest.mark.parametrize("slack", [10_000, ALWAYS], ids=["appending", "making it small"])
def test_killed_writers(tmp_path: Path, slack: int) -> None:
    dice = random.Random(7)
    answered = 0
    for number in range(6):
        child = counting(tmp_path, f"child {number}", 1_000_000, slack)
        assert child.stdout is not None
        for _ in range(dice.randrange(1, 60)):
            answered = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().splitlines()
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
        # Of the last one the newline may be missing, and then its end.
        answered = max(answered, *map(int, rest[:-1]), 0)
        with opened(tmp_path) as store:
            total = asyncio.run(check_counts(store))
        assert total >= answered > 0


def test_what_a_killed_compaction_leaves_behind_does_no_harm(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "test.new").write_bytes(b"00000000[[")
        with opened(tmp_path, slack=ALWAYS) as store:
            for _ in range(20):
                await store.swap([Group([Change("same", ANY, b"x")])])
            await put(store, "a")
        with opened(tmp_path) as store:
            assert await keys(store) == ["a"]

    asyncio.run(scenario())


# -- several processes -------------------------------------------------------------------------


@pytest.mark.parametrize("slack", [10_000, ALWAYS], ids=["appending", "making it small"])
def test_two_writers_lose_no_update_while_a_third_reads(tmp_path: Path, slack: int) -> None:
    async def follow(store: Records, children: list[subprocess.Popen[str]]) -> int:
        cursor, seen, files = 0, 0, set()
        while any(child.poll() is None for child in children):
            [rows] = await store.scan([Scan("steps", 1_000_000)])
            assert len(rows) >= seen  # nothing that was seen is gone
            seen = len(rows)
            log = await store.log(cursor, 1_000)
            for position, events in log.entries:
                assert position == cursor + 1
                assert [int(event) for event in events] == [position]
                cursor = position
            files.add(os.stat(tmp_path / "test.log").st_ino)
            await asyncio.sleep(0.001)
        assert await check_counts(store) == 600
        return len(files)

    with opened(tmp_path, slack=slack) as store:
        children = [counting(tmp_path, name, 300, slack) for name in ("one", "two")]
        files = asyncio.run(follow(store, children))
        for child in children:
            child.communicate()
            assert child.returncode == 0
    assert (files > 1) == (slack == ALWAYS)


def test_a_file_that_was_made_small_says_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        with opened(tmp_path) as reader, opened(tmp_path, slack=50) as writer:
            for number in range(500):
                await put(writer, f"key {number % 7}", b"%d" % number)
                if number >= 7:
                    await writer.swap([Group(counts={"puts": -1})])
            await writer.trim(host_clock().wall + 1)
            await writer.swap([Group(events=[f"key {n}".encode() for n in range(7)])])
            assert await keys(reader) == await keys(writer) == [f"key {n}" for n in range(7)]
            assert await reader.load(["key 3"]) == await writer.load(["key 3"])
            assert await reader.log(None, 0) == await writer.log(None, 0)
            assert (await reader.log(None, 0)).last == 501
        assert (tmp_path / "test.log").stat().st_size < 20_000

    asyncio.run(scenario())


def test_a_lock_that_is_not_given_back_is_waited_for_by_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xqueue_logfile, "PATIENCE", 0.1)

    async def scenario() -> None:
        with opened(tmp_path) as store, (tmp_path / "test.lock").open() as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(Unavailable, match="locked by another process"):
                await put(store, "a")
            fcntl.flock(other, fcntl.LOCK_UN)
            await put(store, "a")
            assert await keys(store) == ["a"]

    asyncio.run(scenario())


def test_with_power_nothing_is_answered_before_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(os.fstat(file).st_size))

    async def scenario() -> None:
        with opened(tmp_path, sync=True) as safe, opened(tmp_path) as other:
            await put(safe, "a")
            first = (tmp_path / "test.log").stat().st_size
            assert synced == [first]
            await put(other, "b")  # by one that does not sync, and might have died
            assert synced == [first]
            assert await safe.swap([Group([Change("b", ABSENT, b"")])]) == [False]
            assert synced == [first, (tmp_path / "test.log").stat().st_size]

    asyncio.run(scenario())


def test_with_power_the_name_of_each_new_file_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[os.stat_result] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file)))

    def folders() -> int:
        return sum(os.path.samestat(one, tmp_path.stat()) for one in synced)

    async def scenario() -> None:
        with opened(tmp_path, sync=True, slack=ALWAYS) as safe, opened(tmp_path) as other:
            assert folders() == 1
            await put(safe, "a")
            assert await keys(other) == ["a"]
            assert folders() == 1
            assert await keys(safe) == ["a"]  # it answers from the file that was made small
            assert folders() == 2

    asyncio.run(scenario())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none/more/test\.log cannot be opened"):
        LogRecords(tmp_path / "none" / "more" / "test.log", False, host_clock)
