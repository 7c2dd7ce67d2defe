"""Workers whose database file is removed or replaced end, and others go on with the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import worker_app
from support.processes import Cli, notes, worker
from support.workers import until
from xqueue_core import XQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(url: str) -> Path:
    """The database's file."""
    return Path(url.removeprefix("sqlite:///"))


async def _started(log: Path, number: int, process: Cli) -> None:
    await until(f"{number} run\n{process.log()}", lambda: len(_starts(log)) >= number, 20.0)


def _starts(log: Path) -> list[str]:
    return [line for line in notes(log) if line.startswith("start")] if log.exists() else []


def _there(file: Path) -> bool:
    return file.exists()


@pytest.mark.parametrize("handler", ["nap", "hang"])
async def test_a_worker_whose_file_was_removed_ends_and_says_so_once(
    url: str, log: Path, file: Path, handler: str
) -> None:
    async with worker_app.make(url) as app:
        await app.submit(handler, seconds=60.0)
        with worker(url, log, "--grace", "1") as process:
            await _started(log, 1, process)
            os.remove(file)
            assert await process.ended(8.0) == 1
            assert process.log().count("removed or replaced") == 1, process.log()
    assert not _there(file)


async def test_a_supervisor_starts_others_on_the_new_file(url: str, log: Path, file: Path) -> None:
    async with worker_app.make(url) as app:
        await app.submit("nap", seconds=0.0)
        with worker(url, log, "--processes", "2") as process:
            await _started(log, 1, process)
            for one in (file, f"{file}-wal", f"{file}-shm"):
                os.remove(one)
            other: XQueue = worker_app.make(url)
            async with other:
                handle = await other.submit("nap", seconds=0.0)
                assert await handle.result(15.0) != os.getpid()
