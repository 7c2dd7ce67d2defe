"""A supervisor and its worker processes: nobody is left behind, whatever dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from support import lifecycle_app
from support.lifecycle import STOPS, children, logged, noted, pids, worker
from support.processes import alive
from support.workers import until
from xqueue_core import State, XQueue

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", ["nap", "sleep", "spin", "ticks", "isolated"])
async def test_a_killed_supervisor_leaves_no_orphan(
    app: XQueue, url: str, log: Path, how: str
) -> None:
    """Also where a handler blocks its loop, or runs on in a thread or in a child of its own."""
    arguments = ("--processes", "2", "--concurrency", "1", "--grace", "0.5", "--lanes", how)
    with worker(url, log, *arguments) as process:
        handles = [await app.submit(how, seconds=30.0) for _ in range(2)]
        await noted(log, 2)
        orphans = pids(log)
        begun = time.monotonic()
        process.send(signal.SIGKILL)
        await until("the children end", lambda: not any(alive(pid) for pid in orphans), 10.0)
        print(f"{how}: orphans gone after {time.monotonic() - begun:.2f} s, grace 0.5 s")
    for handle in handles:
        info = await handle.info()
        assert (info.state, info.history[-1].how) == (State.PENDING, "handback")


async def test_a_killed_supervisor_leaves_no_child_that_is_still_starting(
    url: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lifecycle_app.SLOW, "supervised")
    with worker(url, log, "--processes", "2") as process:
        await noted(log, 2, "importing")
        orphans = pids(log, "importing")
        process.send(signal.SIGKILL)
        await until("the children end", lambda: not any(alive(pid) for pid in orphans), 5.0)


async def test_a_crash_loop_is_slow_quiet_and_leaves_no_zombies(
    url: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lifecycle_app.BROKEN, "1")
    with worker(url, log, "--processes", "2") as process:
        await logged(process, "another is started in 2 s", 2)
        lines = process.log().splitlines()
        assert len([line for line in lines if "ended with code 3" in line]) <= 6
        assert len(lines) <= 3 * 6 + 2
        await until(
            "no zombie is left", lambda: "Z" not in children(process.process.pid).values(), 3.0
        )
        process.send()
        assert await process.ended(5) in (0, 1)


async def test_a_child_that_cannot_start_ends_it(url: str, log: Path) -> None:
    with worker(url, log, "--processes", "3", "--lanes", "nowhere") as process:
        assert await process.ended() == 2
        assert "'nowhere'" in process.log()


@pytest.mark.parametrize("signum", STOPS)
async def test_each_signal_drains_all(
    app: XQueue, url: str, log: Path, signum: signal.Signals
) -> None:
    with worker(url, log, "--processes", "2", "--concurrency", "1") as process:
        handles = [await app.submit("nap", seconds=0.8) for _ in range(2)]
        await noted(log, 2)
        process.send(signum)
        assert await process.ended() == 0
        assert {await handle.result(1) for handle in handles} == pids(log)


async def test_a_second_signal_ends_all_at_once(app: XQueue, url: str, log: Path) -> None:
    arguments = ("--processes", "2", "--concurrency", "1", "--grace", "60")
    with worker(url, log, *arguments) as process:
        handles = [await app.submit(how, seconds=50.0) for how in ("nap", "spin")]
        await noted(log, 2)
        process.send()
        await logged(process, "stopping", 2)
        begun = time.monotonic()
        await until("it is another wish", lambda: time.monotonic() - begun > 0.3)
        process.send()
        assert await process.ended(8) == 0
        assert not any(alive(pid) for pid in pids(log))
        for handle in handles:
            assert await handle.state() is State.PENDING


async def test_a_supervisor_that_is_killed_while_all_drain_takes_no_grace_away(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--processes", "2", "--concurrency", "1") as process:
        handle = await app.submit("nap", seconds=2.0)
        await noted(log, 1)
        process.send()
        await logged(process, "stopping", 1)
        process.send(signal.SIGKILL)
        await handle.result(10)
        assert [one.how for one in (await handle.info()).history] == ["success"]


async def test_a_supervisor_that_was_stopped_and_continued_does_no_harm(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--processes", "1-2", "--concurrency", "1") as process:
        await (await app.submit("nap", seconds=0.0)).result(15)
        process.send(signal.SIGSTOP)
        handle = await app.submit("nap", seconds=0.5)
        await handle.result(10)
        [victim] = pids(log)
        os.kill(victim, signal.SIGKILL)
        process.send(signal.SIGCONT)
        await logged(process, "started worker", 2)
        assert await (await app.submit("nap", seconds=0.0)).result(10) != victim
        process.send()
        assert await process.ended() == 0
        assert process.log().count("ended with code") == 2


@pytest.mark.parametrize("processes", ["2", "2-3"])
async def test_a_worker_that_somebody_else_signals_is_replaced(
    url: str, log: Path, processes: str
) -> None:
    with worker(url, log, "--processes", processes, "--concurrency", "1") as process:
        await logged(process, "serves", 2)
        victim = min(children(process.process.pid))
        os.kill(victim, signal.SIGTERM)
        await logged(process, "it was not asked to end: another takes its place")
        await until("there are two again", lambda: len(children(process.process.pid)) == 2, 10.0)
        process.send()
        assert await process.ended() == 0
