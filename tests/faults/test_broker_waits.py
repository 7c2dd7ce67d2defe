"""Workers that start before their broker does: they say so and end, or wait if they were asked."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import services
from services import Server
from support.history.scene import Scene, scene
from support.lifecycle import children, locked, logged, worker

pytestmark = pytest.mark.anyio

#: Alone, and under a supervisor: both behave alike.
PROCESSES = pytest.mark.parametrize("processes", ["1", "2"])
#: Longest time until a process has ended that has nothing to wait for: it starts an interpreter.
SOON = 10.0
WAITS = "waiting for the broker: "


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that keeps what it has accepted."""
    with services.redis(aof=True) as started:
        yield started


@pytest.fixture
async def stage(tmp_path: Path, server: Server) -> AsyncIterator[Scene]:
    """Client, and workers to come, over this server, which is not there yet."""
    async with scene(tmp_path, url=server.url) as made:
        server.kill()
        yield made


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{bound.getsockname()[1]}"


def error(text: str) -> str:
    """The one line that tells of the error."""
    assert "Traceback" not in text
    [line] = [one for one in text.splitlines() if one.startswith("Error: ")]
    return line


@PROCESSES
async def test_no_server_ends_it_at_once(nobody: str, log: Path, processes: str) -> None:
    with worker(nobody, log, "--processes", processes) as process:
        assert await process.ended(SOON) == 69
        line = error(process.log())
    assert f"Redis at {nobody.removeprefix('redis://')}: " in line
    assert "see that the server runs" in line
    assert "--wait-for-broker waits for it" in line
    assert WAITS not in process.log()
    assert "started worker process" not in process.log()


@PROCESSES
async def test_it_waits_for_a_server_that_comes_later(
    stage: Scene, server: Server, processes: str
) -> None:
    with stage.worker("--processes", processes, "--wait-for-broker") as process:
        await stage.until("it waits", lambda: WAITS in process.log())
        assert "serves" not in process.log()
        assert not children(process.process.pid)
        server.start()
        handles = await stage.submit_many([stage.handlers["nap"].call(0.0) for _ in range(5)])
        for one in handles:
            await one.result(20.0)
        assert process.log().count("the broker answers, after ") == 1
        report = await stage.report()
        process.send()
        assert await process.ended() == 0
    assert report.ok, report


async def test_it_waits_for_a_server_that_stands_still(stage: Scene, server: Server) -> None:
    """It takes the connection and does not answer: the try itself is long."""
    server.start()
    server.pause()
    with stage.worker("--wait-for-broker") as process:
        await stage.until("it waits", lambda: WAITS in process.log())
        server.resume()
        await stage.serving(process)
        process.send()
        assert await process.ended() == 0


@PROCESSES
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_wait(
    nobody: str, log: Path, processes: str, signum: signal.Signals
) -> None:
    with worker(nobody, log, "--processes", processes, "--wait-for-broker") as process:
        await logged(process, WAITS)
        process.send(signum)
        assert await process.ended(2.0) == 0
    assert f"received {signum.name}" in process.log()


@PROCESSES
async def test_a_wait_has_its_limit(nobody: str, log: Path, processes: str) -> None:
    with worker(nobody, log, "--processes", processes, "--wait-for-broker", "500ms") as process:
        assert await process.ended(SOON) == 69
    assert "(given up after 0.5 s)" in error(process.log())
    assert process.log().count(WAITS) == 1


@PROCESSES
async def test_what_no_wait_would_heal_ends_it_at_once(log: Path, processes: str) -> None:
    arguments = ("--processes", processes, "--wait-for-broker")
    with services.redis(password="right", aof=True) as server, services.redis() as forgetful:
        where = f"127.0.0.1:{server.port}"
        for url, says in {
            f"redis://:wrong@{where}": "User or password is wrong",
            f"redis://{where}": "It wants a password",
            f"redis://:right@{where}/99": "Name a database that there is",
            forgetful.url: "the end of the server loses all tasks",
            f"redis://{where}?no_such=1": "no_such",
            f"sqlite:///{log.parent}/nowhere/tasks.db": "nowhere",
        }.items():
            with worker(url, log, *arguments) as process:
                assert await process.ended(SOON) == 2, (url, process.log())
            assert says in error(process.log())
            assert WAITS not in process.log()


async def test_it_waits_for_a_database_that_is_locked(url: str, log: Path) -> None:
    with worker(url, log, "--burst") as process:
        assert await process.ended(SOON) == 0  # the database is made
    short = f"{url}?busy_timeout=0.2"
    with ExitStack() as lock:
        lock.enter_context(locked(url))
        with worker(short, log) as process:
            assert await process.ended(SOON) == 69
            assert "locked" in error(process.log())
        with worker(short, log, "--wait-for-broker", "1m") as process:
            await logged(process, WAITS)
            await asyncio.sleep(1.0)
            lock.close()
            await logged(process, "serves")
            # Once while it was tried again and again, and by the worker's two connections.
            assert 1 <= process.log().count(": database /") <= 3
            process.send()
            assert await process.ended() == 0
