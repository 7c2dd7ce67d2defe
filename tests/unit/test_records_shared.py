"""Several threads, event loops and processes change the same rows; no update is lost."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from support import counting_child
from support.counting_child import step
from support.stores import KINDS, make, open_records
from xqueue_core.stored.records import Records, Scan

_SCRIPT = str(counting_child.__file__)


async def _check(records: Records, names: list[str], times: int) -> None:
    """Every step happened once, one after the other, with its event and its count."""
    total = len(names) * times
    (row,) = await records.load(["total"])
    assert row is not None
    assert int(row.body) == total
    (rows,) = await records.scan([Scan("steps", total + 1)])
    assert [int(row.body) for row in rows] == [*range(1, total + 1)]
    assert await records.counts("", "", 9) == [("steps", total)]
    log = await records.log(0, total + 1)
    events = [event.decode() for _, events in log.entries for event in events]
    assert sorted(events) == sorted(f"{name} {n}" for name in names for n in range(times))


@pytest.mark.parametrize("kind", KINDS)
def test_threads_with_event_loops(tmp_path: Path, kind: str) -> None:
    async def count(records: Records, name: str) -> None:
        for number in range(50):
            await step(records, name, number)

    async def scenario() -> None:
        async with open_records(kind, tmp_path) as records:
            names = [f"thread {number}" for number in range(4)]
            await asyncio.gather(
                *(asyncio.to_thread(asyncio.run, count(records, name)) for name in names)
            )
            await _check(records, names, 50)

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_calls_that_overlap_on_one_loop(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        async with open_records(kind, tmp_path) as records:
            names = [f"task {number}" for number in range(20)]
            await asyncio.gather(*(step(records, name, 0) for name in names))
            await _check(records, names, 1)

    asyncio.run(scenario())


def test_an_event_loop_that_ends_with_calls_under_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_records("sqlite-process", tmp_path) as records:

            async def leave() -> None:
                calls = [asyncio.ensure_future(records.swap([make(f"{n}")])) for n in range(50)]
                await asyncio.sleep(0)
                del calls

            await asyncio.to_thread(asyncio.run, leave())
            assert await records.swap([make("after")]) == [True]

    asyncio.run(scenario())


def test_processes(tmp_path: Path) -> None:
    async def scenario() -> None:
        names, times = ["one", "two", "three"], 100
        children = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-W", "error", _SCRIPT, str(tmp_path / "test.db"), name, str(times)),
                stdout=asyncio.subprocess.DEVNULL,
            )
            for name in names
        ]
        async with open_records("sqlite-process", tmp_path) as records:
            # Follows the log meanwhile: what it reads must be all there is in the end.
            seen: list[tuple[int, list[bytes]]] = []
            while sum(len(events) for _, events in seen) < len(names) * times:
                log = await records.log(seen[-1][0] if seen else 0, 7)
                seen += [(cursor, list(events)) for cursor, events in log.entries]
            assert [await child.wait() for child in children] == [0, 0, 0]
            cursors = [cursor for cursor, _ in seen]
            assert cursors == sorted(set(cursors))
            everything = await records.log(0, 10_000)
            assert [(cursor, list(events)) for cursor, events in everything.entries] == seen
            await _check(records, names, times)

    asyncio.run(scenario())


def test_no_thread_is_left(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    async def scenario() -> None:
        async with open_records("sqlite-process", tmp_path) as records:
            await records.swap([make("a")])

    asyncio.run(scenario())
    assert set(threading.enumerate()) == before
