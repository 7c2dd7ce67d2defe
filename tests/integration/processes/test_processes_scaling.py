"""Real worker processes whose number follows the load."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import lifecycle_app
from support.lifecycle import children, logged, noted, pids
from support.processes import Cli
from support.workers import until
from xqueue_core import XQueue

pytestmark = pytest.mark.anyio

QUICK = Path(__file__).parents[2] / "support" / "quick_fleet.py"


@pytest.fixture
async def app(url: str) -> AsyncIterator[XQueue]:
    """The processes' app, in this process as a client."""
    async with lifecycle_app.make(url) as opened:
        yield opened


@pytest.mark.timeout(150)
async def test_processes_are_added_under_load_and_taken_away_after_it(
    app: XQueue, url: str, log: Path
) -> None:
    arguments = ("worker", "support.lifecycle_app:app", "--processes", "1-3")
    more = ("--concurrency", "1", "--lanes", "nap")
    process = Cli(url, log, *arguments, *more, script=QUICK)
    pid = process.process.pid
    most = 0
    try:
        handles = [await app.submit("nap", seconds=1.0) for _ in range(4)]
        await noted(log, 1)
        assert len(children(pid)) == 1

        async def all_at_work() -> bool:
            handles.append(await app.submit("nap", seconds=1.0))
            return len(pids(log)) == 3

        await until("three processes work", all_at_work, 40.0, every=0.5)
        for handle in handles:
            await handle.result(60)
            most = max(most, len(children(pid)))
        assert most == 3
        await logged(process, "is superfluous", 2, 30.0)
        await until("one is left", lambda: len(children(pid)) == 1, 15.0)
        assert set(children(pid).values()) <= {"S", "R", "D"}
        await (await app.submit("nap", seconds=0.0)).result(10)
        process.send()
        assert await process.ended() == 0
        for handle in handles:
            assert [one.how for one in (await handle.info()).history] == ["success"]
        assert "ERROR" not in process.log()
    finally:
        process.process.kill()
        process.process.communicate()


@pytest.mark.parametrize("flags", [("--processes", "3-2"), ("--concurrency", "a-b")])
async def test_ranges_that_are_none(url: str, log: Path, flags: tuple[str, str]) -> None:
    process = Cli(url, log, "worker", "support.lifecycle_app:app", *flags)
    assert await process.ended() == 2
    process.process.communicate()
    assert flags[1] in process.log()
