"""The guardian of a supervisor: no worker outlives its supervisor for long, whatever it does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.lifecycle import APP, children, guardian, logged, noted, pids
from support.processes import Cli, alive
from support.workers import until
from xqueue_core import XQueue

pytestmark = pytest.mark.anyio

HASTY = Path(__file__).parents[1] / "support" / "hasty_supervisor.py"


@contextmanager
def hasty(url: str, log: Path, *arguments: str) -> Iterator[Cli]:
    """Two workers with a slot each and a grace time of 0.5 s, under a hasty supervisor."""
    settings = ("--processes", "2", "--concurrency", "1", "--grace", "0.5")
    process = Cli(url, log, "worker", APP, *settings, *arguments, script=HASTY)
    try:
        yield process
    finally:
        for pid in pids(log):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        if process.process.poll() is None:
            process.process.kill()
        process.process.communicate()


async def guarded(process: Cli, other: int = 0) -> int:
    """The guardian, as soon as there is one, another than this."""
    found: list[int] = []

    def there() -> bool:
        pid = guardian(process.process.pid)
        found[:] = [] if pid in (None, other) else [pid]
        return bool(found)

    await until("there is a guardian", there, 10.0)
    return found[0]


async def test_a_worker_that_holds_the_gil_does_not_outlive_its_supervisor(
    app: XQueue, url: str, log: Path
) -> None:
    with hasty(url, log, "--lanes", "lock") as process:
        for _ in range(2):
            await app.submit("lock", seconds=30.0)
        await noted(log, 2)
        guard = await guarded(process)
        begun = time.monotonic()
        process.send(signal.SIGKILL)
        await until("the workers end", lambda: not any(map(alive, pids(log))), 6.0)
        print(f"gone after {time.monotonic() - begun:.2f} s, grace 0.5 s and 1 s")
        await until("the guardian ends", lambda: not alive(guard), 2.0)


async def test_the_guardian_ends_with_the_last_worker(app: XQueue, url: str, log: Path) -> None:
    with hasty(url, log, "--lanes", "nap", "--grace", "60") as process:
        await app.submit("nap", seconds=0.5)
        await noted(log, 1)
        guard = await guarded(process)
        workers = children(process.process.pid)
        process.send(signal.SIGKILL)
        await until("all end", lambda: not any(map(alive, [guard, *workers])), 8.0)


async def test_the_guardian_heeds_no_signal_and_ends_with_its_supervisor(
    url: str, log: Path
) -> None:
    with hasty(url, log, "--lanes", "nap") as process:
        await logged(process, "serves", 2)
        guard = await guarded(process)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(guard, signum)
        process.send()
        assert await process.ended() == 0
        assert not alive(guard)
        assert "guardian of workers" not in process.log()


async def test_a_guardian_that_dies_is_replaced_and_harms_nothing(
    app: XQueue, url: str, log: Path
) -> None:
    with hasty(url, log, "--lanes", "lock") as process:
        await logged(process, "serves", 2)
        guard = await guarded(process)
        os.kill(guard, signal.SIGKILL)
        other = await guarded(process, guard)
        await app.submit("lock", seconds=30.0)
        await noted(log, 1)
        workers = children(process.process.pid)
        process.send(signal.SIGKILL)
        await until("all end", lambda: not any(map(alive, [other, *workers])), 8.0)
        assert process.log().count("the guardian of workers failed, next try in 1 s") == 1
