"""Signals to one worker process: when it stops leasing, how and when it ends."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from support import lifecycle_app
from support.lifecycle import locked, logged, noted, times, worker
from support.processes import Cli
from xqueue_core import State, XQueue
from xqueue_core.cli.signals import SAME

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", ["sleep", "spin"])
async def test_leasing_stops_within_a_second_though_the_loop_is_blocked(
    app: XQueue, url: str, log: Path, how: str
) -> None:
    """Tasks come all the time, and there is room for all of them."""
    with worker(url, log, "--concurrency", "5000", "--grace", "20") as process:
        await app.submit(how, seconds=3.0)
        await noted(log)
        handles = []
        begun = time.monotonic()
        signaled = 0.0
        while time.monotonic() - begun < 2.5:
            handles += [await app.submit("nap", seconds=0.0)]
            if not signaled and time.monotonic() - begun > 1.0:
                process.send()
                signaled = time.time()
            await asyncio.sleep(0.005)
        infos = [await handle.info() for handle in handles]
        leases = [one.started_at for info in infos for one in info.history]
        assert len([at for at in leases if at < signaled]) > 10
        late = max(leases) - signaled
        print(f"{how}: last lease {late * 1000:.0f} ms after the signal")
        assert late < 1.0
        assert await process.ended() == 0


async def test_what_is_handed_back_does_not_run_on(app: XQueue, url: str, log: Path) -> None:
    """The process ends right after it has said so."""
    with worker(url, log, "--grace", "0.2") as process:
        handle = await app.submit("ticks", seconds=60.0)
        await noted(log, 3, "tick")
        process.send()
        assert await process.ended() == 0
        [back] = (await handle.info()).history
        assert back.how == "handback"
        over = max(times(log, "tick")) - back.ended_at
        print(f"code ran on {over * 1000:.0f} ms after its hand-back was recorded")
        assert over < 0.3


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_while_the_app_is_imported(
    url: str, log: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    monkeypatch.setenv(lifecycle_app.SLOW, "always")
    with worker(url, log) as process:
        await noted(log, 1, "importing")
        process.send(signum)
        assert await process.ended(2) == 0


async def test_a_signal_while_the_broker_is_away_at_the_start(
    app: XQueue, url: str, log: Path
) -> None:
    with locked(url), worker(url, log) as process:
        await logged(process, "database ")
        assert await ended(process, "at the start") < 10


async def test_a_second_signal_while_the_broker_is_away(app: XQueue, url: str, log: Path) -> None:
    """It does not wait for the grace time, nor for the broker."""
    with worker(url, log, "--grace", "60") as process:
        handle = await app.submit("nap", seconds=50.0)
        await noted(log)
        process.send()
        await logged(process, "stopping")
        with locked(url):
            await asyncio.sleep(SAME + 0.1)
            assert await ended(process, "during the drain") < 20
        assert await handle.state() is State.PROCESSING  # until its lease has run out


async def ended(process: Cli, what: str) -> float:
    """Signal it; seconds until it has ended, with code 0."""
    begun = time.monotonic()
    process.send()
    assert await process.ended(40) == 0, process.log()
    taken = time.monotonic() - begun
    print(f"{what}: ended {taken:.1f} s after the signal")
    return taken
