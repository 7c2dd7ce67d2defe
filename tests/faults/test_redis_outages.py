"""Real workers over a real Redis that fails: it is not there, dies, forgets, fills up, changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import services
from services import Server
from support.history.events import OutageBegan, OutageEnded
from support.history.scene import Scene, scene
from support.history.writer import now
from support.redis_links import command, made
from xqueue_core import ResultExpired
from xqueue_core.abc import Semaphore
from xqueue_core.errors import Unavailable, Unknown
from xqueue_redis import RedisBackend

pytestmark = pytest.mark.anyio

#: How long workers and clients may take to go on after the server's first answer (seconds).
RESUMED = 3.0


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that keeps what it has accepted."""
    with services.redis(aof=True, appendfsync="always") as started:
        yield started


@pytest.fixture
async def stage(tmp_path: Path, server: Server) -> AsyncIterator[Scene]:
    """Client, history, and workers to come, over this server."""
    async with scene(tmp_path, url=server.url) as made:
        yield made


# -- it is not there ---------------------------------------------------------------------------


async def test_a_worker_that_finds_no_server_says_so_and_ends(stage: Scene, server: Server) -> None:
    server.kill()
    with stage.worker() as worker:
        assert await worker.ended(20.0) == 69
        [error] = [line for line in worker.log().splitlines() if line.startswith("Error: ")]
        assert f"127.0.0.1:{server.port}" in error
        assert "see that the server runs" in error
        assert "Traceback" not in worker.log()
    server.start()


async def test_workers_and_clients_go_on_when_the_server_is_back(
    stage: Scene, server: Server
) -> None:
    """What runs meanwhile ends in success and is not run again; a submit waits for the server."""
    with stage.worker("--concurrency", "3") as worker:
        handles = await stage.submit_many([stage.handlers["nap"].call(1.0) for _ in range(3)])
        await stage.started(3)
        stage.writer.write(OutageBegan(at=now()))
        server.kill()
        waiting = asyncio.create_task(stage.submit("nap", seconds=0.0))
        await stage.until("the worker notices", lambda: "Nothing was sent" in worker.log())
        server.start()
        stage.writer.write(OutageEnded(at=now()))
        back = now()
        handles.append(await waiting)
        assert [await one.result(20.0) for one in handles] == [worker.process.pid] * 4
        assert stage.starts(handles[-1].id)[0].at - back < RESUMED
        report = await stage.report()
        worker.send()
        assert await worker.ended() == 0
    assert report.ok, report
    assert len(stage.starts()) == 4


async def test_a_server_that_stands_still_for_two_leases_costs_nobody_a_task(
    stage: Scene, server: Server
) -> None:
    with stage.worker("--concurrency", "2") as worker, stage.worker("--concurrency", "2"):
        handles = await stage.submit_many([stage.handlers["nap"].call(6.0) for _ in range(4)])
        await stage.started(4)
        stage.writer.write(OutageBegan(at=now()))
        server.pause()
        over = now() + 2 * stage.terms.lease
        await stage.until("two leases are over", lambda: now() > over)
        server.resume()
        await asyncio.to_thread(server.wait)
        stage.writer.write(OutageEnded(at=now()))
        for one in handles:
            await one.result(20.0)
        report = await stage.report()
        worker.send()
        assert await worker.ended() == 0
    assert report.ok, report
    assert len(stage.starts()) == 4
    assert {(await one.info()).losses for one in handles} == {0}


async def test_a_worker_stopped_past_its_lease_changes_nothing_when_it_goes_on(
    stage: Scene,
) -> None:
    with stage.worker("--concurrency", "4") as sleeper:
        handles = await stage.submit_many([stage.handlers["nap"].call(1.5) for _ in range(4)])
        await stage.started(4)
        stage.stop(sleeper)
        with stage.worker("--concurrency", "4") as other:
            assert [await one.result(20.0) for one in handles] == [other.process.pid] * 4
            before = [await one.info() for one in handles]
            stage.go_on(sleeper)
            stage.kill(other)
            # Its next heartbeats have come when it does new work.
            assert (
                await (await stage.submit("nap", seconds=0.0)).result(20.0) == sleeper.process.pid
            )
    after = [await one.info() for one in handles]
    assert [(one.seq, one.worker, one.losses) for one in after] == [
        (one.seq, other_worker(before), 1) for one in before
    ]
    report = await stage.report()
    assert report.ok, report


def other_worker(infos: list[Any]) -> str:
    [worker] = {str(one.worker) for one in infos}
    return worker


# -- it forgets, fills up, or changes ----------------------------------------------------------


async def test_scripts_flushed_under_a_worker_are_loaded_again(
    stage: Scene, server: Server
) -> None:
    with stage.worker() as worker:
        for n in range(1, 6):
            handles = await stage.submit_many([stage.handlers["nap"].call(0.05) for _ in range(5)])
            await stage.started(5 * n - 4)
            await command(server, "SCRIPT", "FLUSH")
            await command(server, "FUNCTION", "FLUSH")
            for one in handles:
                await one.result(20.0)
        assert "not found" not in worker.log()
        report = await stage.report()
    assert report.ok, report
    assert len(stage.starts()) == 25


async def test_a_full_server_takes_no_submits_and_lets_running_work_end(
    stage: Scene, server: Server
) -> None:
    with stage.worker("--concurrency", "2") as worker:
        handles = await stage.submit_many([stage.handlers["nap"].call(1.0) for _ in range(4)])
        await stage.started(2)
        await command(server, "CONFIG", "SET", "maxmemory", "1")
        try:
            async with stage.app.connect() as connection:
                with pytest.raises(Unavailable, match="Raise maxmemory, or drain"):
                    await connection.faces.queue.put([stage.handlers["nap"].call(0.0).task])
            waiting = asyncio.create_task(stage.submit("nap", seconds=0.0))
            assert [await one.result(20.0) for one in handles] == [worker.process.pid] * 4
            assert not waiting.done(), "a submit waits until there is room, or its deadline"
        finally:
            await command(server, "CONFIG", "SET", "maxmemory", "0")
        assert await (await waiting).result(20.0) == worker.process.pid
        report = await stage.report()
    assert report.ok, report
    assert len(stage.starts()) == 5


async def test_a_worker_goes_on_when_its_server_becomes_a_replica_and_a_primary_again(
    stage: Scene, server: Server
) -> None:
    with services.redis(aof=True) as other, stage.worker("--concurrency", "3") as worker:
        await command(other, "REPLICAOF", "127.0.0.1", server.port)
        await stage.until("it is in step", lambda: _in_step(other))
        handles = await stage.submit_many([stage.handlers["nap"].call(1.0) for _ in range(3)])
        await stage.started(3)
        stage.writer.write(OutageBegan(at=now()))
        await command(other, "REPLICAOF", "NO", "ONE")
        await command(server, "REPLICAOF", "127.0.0.1", other.port)
        await stage.until("the worker is told", lambda: "READONLY" in worker.log())
        await stage.until("it has the other's data", lambda: _in_step(server))
        await command(server, "REPLICAOF", "NO", "ONE")
        stage.writer.write(OutageEnded(at=now()))
        handles.append(await stage.submit("nap", seconds=0.0))
        assert [await one.result(20.0) for one in handles] == [worker.process.pid] * 4
        report = await stage.report()
        worker.send()
        assert await worker.ended() == 0
    assert report.ok, report
    assert len(stage.starts()) == 4


async def _in_step(replica: Server) -> bool:
    said: dict[str, str] = await command(replica, "INFO", "replication")
    return said.get("master_link_status") == "up"


async def test_a_server_emptied_under_load_is_told_of_and_new_tasks_run(
    stage: Scene, server: Server
) -> None:
    nap = stage.handlers["nap"]
    with stage.worker("--concurrency", "2") as worker:
        lost = await stage.submit_many([nap.call(0.5) for _ in range(20)])
        waiting = asyncio.create_task(lost[-1].result(20.0))
        await stage.started(2)
        await command(server, "FLUSHALL")
        again = await stage.submit_many([nap.call(0.0) for _ in range(5)])
        assert [await one.result(20.0) for one in again] == [worker.process.pid] * 5
        with pytest.raises(ResultExpired):
            await waiting
        await stage.until("it is told", lambda: "has lost its data" in worker.log())
        worker.send()
        assert await worker.ended() == 0
    async with stage.app.connect() as connection:
        total = (await connection.faces.needed("view").stats()).total()
    assert (total.live, total.success, total.conserved) == (0, 5, True)


async def test_permits_learn_of_a_restart_with_the_first_call(server: Server) -> None:
    """The scripts are told the run id of the server that runs them, not of the one before."""
    async with RedisBackend().open(made(server.url)) as faces:
        semaphore = faces.needed("semaphore")
        for restarted in (False, True):
            if restarted:
                await asyncio.to_thread(server.restart)
            run_id = (await command(server, "INFO", "server"))["run_id"]
            await _renewed(semaphore)
            assert run_id.encode() in await command(server, "GET", "{xqueue}:permits-mark")


async def _renewed(semaphore: Semaphore) -> None:
    with suppress(Unknown):  # it was sent to the server that is dead
        await semaphore.renew("w", [], [], 15.0)
        return
    await semaphore.renew("w", [], [], 15.0)


async def test_a_supervisor_waits_for_a_server_that_is_not_there_yet(
    stage: Scene, server: Server
) -> None:
    server.kill()
    with stage.worker("--processes", "2", "--wait-for-broker") as worker:
        await stage.until("it tries", lambda: "see that the server runs" in worker.log())
        server.start()
        handles = await stage.submit_many([stage.handlers["nap"].call(0.0) for _ in range(5)])
        for one in handles:
            await one.result(30.0)
        report = await stage.report()
        worker.send()
        assert await worker.ended() == 0
    assert report.ok, report
