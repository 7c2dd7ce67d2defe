"""Real worker processes: signals, supervision, death."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support import worker_app
from support.processes import alive, cli, notes, worker
from support.workers import until
from xqueue_core import State, TaskFailed, TaskTimedOut, XQueue

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    """The event loop of the worker process."""
    return str(request.param)


@pytest.fixture
async def app(url: str) -> AsyncIterator[XQueue]:
    """The processes' app, in this process as a client."""
    async with worker_app.make(url) as opened:
        yield opened


def named(app: XQueue, name: str, **arguments: Any) -> Any:
    """Submit by name."""
    return app.submit(name, **arguments)


async def started(log: Path, count: int = 1) -> None:
    """Wait until so many handlers have started."""
    await until(
        f"{count} handlers start",
        lambda: sum(one.startswith("start") for one in notes(log)) >= count,
    )


async def test_sigterm_lets_running_tasks_finish(
    app: XQueue, url: str, log: Path, loop: str
) -> None:
    with worker(url, log, "--loop", loop, "--concurrency", "1") as process:
        first = await named(app, "nap", seconds=1.0)
        await started(log)
        second = await named(app, "nap", seconds=0.0)
        process.send()
        assert await process.ended() == 0
        assert await first.result(5) == process.process.pid
        assert await second.state() is State.PENDING
        info = await second.info()
        assert info.attempt == 0
    assert str(url.removeprefix("sqlite:///")) in process.log().splitlines()[0]


async def test_after_the_grace_the_rest_is_handed_back(app: XQueue, url: str, log: Path) -> None:
    with worker(url, log, "--grace", "0.3") as process:
        coroutine = await named(app, "nap", seconds=30.0)
        thread = await named(app, "hang", seconds=30.0)
        await started(log, 2)
        process.send()
        assert await process.ended() == 0
        for handle in (coroutine, thread):
            info = await handle.info()
            assert info.state is State.PENDING, process.log()
            assert info.history[-1].how == "handback"
            assert info.history[-1].reason == "stop"
            assert info.losses == 0


@pytest.mark.parametrize("name", ["nap", "hang", "block"])
async def test_a_second_signal_hands_back_at_once(
    app: XQueue, url: str, log: Path, name: str
) -> None:
    with worker(url, log, "--grace", "60") as process:
        handle = await named(app, name, seconds=40.0)
        await started(log)
        process.send(signal.SIGINT)
        await until("it drains", lambda: "stopping" in process.log())
        begun = time.monotonic()
        await until("the second signal is another wish", lambda: time.monotonic() - begun > 0.3)
        process.send(signal.SIGINT)
        assert await process.ended(15) == 0
        info = await handle.info()
        assert info.state is State.PENDING, process.log()
        assert info.history[-1].how == "handback"


async def test_sigterm_stops_leasing_though_a_handler_blocks_the_loop(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--grace", "20", "--lanes", "block,nap") as process:
        blocking = await named(app, "block", seconds=2.0)
        await started(log)
        process.send()
        await until("it drains", lambda: "stopping" in process.log(), 1.0)
        waiting = await named(app, "nap", seconds=0.0)
        assert await process.ended() == 0
        assert await blocking.state() is State.SUCCESS
        assert (await waiting.info()).attempt == 0


async def test_a_worker_whose_loop_is_blocked_leaves_tasks_to_another(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--processes", "2", "--lanes", "block,nap") as process:
        blocking = await named(app, "block", seconds=12.0)
        await started(log)
        pid = int(notes(log)[0].split()[3])
        handles = [await named(app, "nap", seconds=0.0) for _ in range(60)]
        others = {await handle.result(8) for handle in handles[30:]}
        others |= {await handle.result(8) for handle in handles}
        assert await blocking.state() is State.PROCESSING, process.log()
        assert len(others) == 1
        assert pid not in others


async def test_two_processes_share_the_work_and_end_together(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--processes", "2", "--concurrency", "1") as process:
        handles = [await named(app, "nap", seconds=1.0) for _ in range(4)]
        pids = {await handle.result(20) for handle in handles}
        assert len(pids) == 2
        assert process.process.pid not in pids
        process.send()
        assert await process.ended() == 0
        assert not any(alive(pid) for pid in pids)


async def test_a_process_that_dies_is_replaced(app: XQueue, url: str, log: Path) -> None:
    with worker(url, log, "--processes", "2", "--lanes", "nap") as process:
        handle = await named(app, "nap", seconds=0.5)
        await started(log)
        pid = int(notes(log)[0].split()[3])
        os.kill(pid, signal.SIGKILL)
        assert await handle.result(20) != pid
        await until("the process is replaced", lambda: process.log().count("started worker") >= 3)
        process.send()
        assert await process.ended() == 0


async def test_children_do_not_outlive_a_supervisor_that_is_killed(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--processes", "2", "--concurrency", "1", "--grace", "1") as process:
        for _ in range(2):
            await named(app, "nap", seconds=30.0)
        await started(log, 2)
        pids = [int(one.split()[3]) for one in notes(log)]
        process.process.kill()
        await until("the children end", lambda: not any(alive(pid) for pid in pids))


async def test_wrong_configuration_ends_with_2(app: XQueue, url: str, log: Path) -> None:
    with worker(url, log, "--lanes", "nowhere") as process:
        assert await process.ended() == 2
        assert "'nowhere'" in process.log()
    with cli(url, log, "worker", "no.such.module:app") as process:
        assert await process.ended() == 2


async def test_what_a_killed_worker_held_is_reclaimed(app: XQueue, url: str, log: Path) -> None:
    with worker(url, log) as victim:
        handle = await named(app, "nap", seconds=1.0)
        await started(log)
        victim.send(signal.SIGKILL)
        assert await victim.ended() == -signal.SIGKILL
        with worker(url, log) as process:
            assert await handle.result(20) == process.process.pid
    info = await handle.info()
    assert (info.losses, info.attempt) == (1, 1)
    assert [one.how for one in info.history] == ["lost", "success"]


async def test_a_task_that_kills_its_workers_ends_and_spares_its_neighbours(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--processes", "2"):
        neighbours = [await named(app, "nap", seconds=1.5) for _ in range(3)]
        killer = await named(app, "die")
        with pytest.raises(TaskFailed) as caught:
            await killer.result(50)
        assert caught.value.reason == "worker_lost"
        for handle in neighbours:
            await handle.result(30)
            assert (await handle.info()).losses < 3


async def test_heartbeats_keep_a_long_task_exclusive(app: XQueue, url: str, log: Path) -> None:
    with worker(url, log) as one, worker(url, log) as other:
        handle = await named(app, "block", seconds=5.0)
        await handle.result(20)
        assert sum(line.startswith("start") for line in notes(log)) == 1
        for process in (one, other):
            process.send()
            assert await process.ended() == 0


async def test_a_thread_that_cannot_be_stopped_has_its_process_recycled(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--grace", "0.5") as process:
        handle = await hang_briefly(app)
        with pytest.raises(TaskTimedOut):
            await handle.result(20)
        after = await named(app, "nap", seconds=0.0)
        await after.result(20)
        assert "replaces itself" in process.log()
        process.send()
        assert await process.ended() == 0


async def hang_briefly(app: XQueue) -> Any:
    """A thread that runs far longer than it may."""
    from xqueue_core.task import Task

    async with app.connect() as connection:
        task = Task(
            id="hang:long",
            lane="hang",
            payload=b'{"seconds": 60}',
            process_timeout=0.3,
            max_retry=0,
        )
        await connection.faces.queue.put([task])
    return app.handle("hang:long")
