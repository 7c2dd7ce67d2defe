"""Limits among real worker processes, measured by what their handlers wrote."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support import limits_app
from support.limits_app import SEMAPHORE, most, running, share
from support.processes import cli, notes
from support.workers import until
from xqueue_core import Handle, XQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
def semaphore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another broker than the queue's, for the semaphore of app and workers."""
    other = f"sqlite:///{tmp_path / 'permits.db'}"
    monkeypatch.setenv(SEMAPHORE, other)
    return other


@pytest.fixture
async def app(url: str) -> AsyncIterator[XQueue]:
    """The processes' app, in this process as a client."""
    async with limits_app.make(url) as opened:
        yield opened


def worker(url: str, log: Path, *arguments: str) -> Any:
    """A worker process."""
    return cli(url, log, "worker", "support.limits_app:app", "--concurrency", "10", *arguments)


async def submitted(app: XQueue, name: str, count: int, **arguments: Any) -> list[Handle[Any]]:
    """Submit by name."""
    return await asyncio.gather(*(app.submit(name, **arguments) for _ in range(count)))


async def limit(app: XQueue, lane: str, value: int | None) -> int:
    """Set an operator's limit; when that was done."""
    async with app.connect() as connection:
        await connection.faces.needed("semaphore").set_limit(f"lane:{lane}", value)
    return time.monotonic_ns()


async def test_two_processes_run_exactly_as_many_as_the_limits_allow(
    app: XQueue, url: str, log: Path
) -> None:
    await submitted(app, "a", 400, seconds=0.2)
    await submitted(app, "b", 300, seconds=0.2)

    def now(name: str) -> int:
        return ([0] + [count for _, count in running(log, name)])[-1]

    with worker(url, log), worker(url, log, "--loop", "uvloop"):
        await until("both lanes are full", lambda: (now("a"), now("b")) == (3, 5), 30.0)
        full = time.monotonic_ns()
        await until("some time has passed", lambda: time.monotonic_ns() - full > 4e9, 6.0)
        changed = max(await limit(app, "a", 6), await limit(app, "b", 2))
        await until("some time has passed", lambda: time.monotonic_ns() - changed > 5e9, 7.0)
    a, b = running(log, "a"), running(log, "b")
    soon, end = changed + 1_000_000_000, changed + 5_000_000_000
    assert most([one for one in a if one[0] < changed - 1_000_000_000]) == 3
    assert most(b) == 5
    before = changed - 500_000_000
    shares = {
        "3 of a": share(a, 3, full, before),
        "5 of b": share(b, 5, full, before),
        "6 of a": share(a, 6, soon, end),
        "2 of b": share(b, 2, soon, end),
    }
    print("exactly as many, of the time:", shares)
    assert min(shares.values()) > 0.9
    # Lowered: what runs a second later began before, and has ended 0.2 s after that.
    assert most(b, soon) <= 2


async def test_a_killed_worker_s_permits_come_free_in_another_broker(
    url: str, semaphore: str, log: Path
) -> None:
    async with limits_app.make(url, semaphore) as app:
        handles = await submitted(app, "a", 40, seconds=0.2)
        for key in "xy":
            handles += await submitted(app, "keyed", 10, key=key, seconds=0.1)
        killed: dict[int, int] = {}
        with worker(url, log) as first, worker(url, log):
            pid = first.process.pid
            await until(
                "the first one works",
                lambda: sum(line.endswith(f" {pid}") for line in notes(log)) > 6,
                30.0,
            )
            first.send(signal.SIGKILL)
            await first.ended()
            killed[pid] = time.monotonic_ns()
            # One that was killed between its end and the record of it runs once more.
            await asyncio.gather(*(one.result(40) for one in handles))
            async with app.connect() as connection:
                infos = connection.faces.needed("semaphore").inspect

                async def free() -> bool:
                    found = await infos(["lane:a", "key:keyed:x", "key:keyed:y"])
                    return not any(info.holders or info.waiters for info in found)

                await until("no permit is held", free)
        assert most(running(log, "a", killed)) == 3
        for key in "xy":
            assert most(running(log, f"keyed/{key}", killed)) == 1
