"""Somebody else removes, or writes, keys of a namespace in Redis: everything else goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import services
from services import Server
from support.apps import make_app
from support.history.scene import Scene, scene
from support.redis_links import command, made
from support.workers import until, working
from xqueue_core import XQueue
from xqueue_core.abc import Faces
from xqueue_core.calls import Beat, Did, Edit, Replay, Settle, Settled, Unpark, Want
from xqueue_core.task import State, Success, Task
from xqueue_core.views import TypeStats
from xqueue_redis import RedisBackend

pytestmark = pytest.mark.anyio

#: What its keys begin with.
P = "{xqueue}:"
#: Keys of all kinds, but for those of tasks and permits.
STRUCTURES = (
    *("r:t:0", "early:t:0", "ready:t", "later", "expiring:t", "line:t:k", "lines", "held:w"),
    *("done:t", "quarantine", "lanes", "types", "counts", "workers", "beats", "orders", "turns"),
    *("mark", "schedules", "events", "wake:t", "repair", "u:t:h"),
)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own."""
    with services.redis(aof=True) as started:
        yield started


@pytest.fixture
async def stage(tmp_path: Path, server: Server) -> AsyncIterator[Scene]:
    """Client, history, and workers to come, over this server."""
    async with scene(tmp_path, url=server.url) as made:
        yield made


@pytest.fixture
async def faces(server: Server) -> AsyncIterator[Faces]:
    """The backend alone."""
    async with RedisBackend().open(made(server.url)) as opened:
        yield opened


async def leased(faces: Faces, lane: str, call: int) -> list[tuple[str, int]]:
    """Ids and tokens of what there is of a lane."""
    await faces.queue.extend(Beat(worker="w", answered=0), [])
    answer = await faces.queue.lease([Want(lane, 10)], 10, call, "w", 0)
    return [(one.task.id, one.token) for one in answer.deliveries]


async def ended(faces: Faces, *deliveries: tuple[str, int]) -> None:
    outcomes = [Settle(id, token, Success()) for id, token in deliveries]
    assert set(await faces.queue.settle(outcomes)) == {Settled.APPLIED}


async def total(faces: Faces) -> TypeStats:
    found: TypeStats = (await faces.needed("view").stats()).total()
    assert found.conserved
    return found


# -- removed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["group", "entries", "stream"])
async def test_what_was_in_a_stream_that_somebody_removed_runs_once(
    stage: Scene, server: Server, how: str
) -> None:
    with stage.worker("--concurrency", "2", "--types", "nap"):
        handles = await stage.submit_many([stage.handlers["nap"].call(0.3) for _ in range(20)])
        await stage.started(2)
        [stream] = await command(server, "KEYS", f"{P}r:nap:*")
        if how == "group":
            assert await command(server, "XGROUP", "DESTROY", stream, "x") == 1
        elif how == "entries":
            await command(server, "XTRIM", stream, "MAXLEN", 3)
        else:
            await command(server, "DEL", stream)
        for one in handles:
            await one.result(20.0)
        report = await stage.report()
    assert report.ok, report
    assert len(stage.starts()) == 20


# -- written over ------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["another type", "bytes", "nothing of ours", "envelope"])
async def test_rubbish_in_the_place_of_a_task_is_set_aside(
    stage: Scene, server: Server, what: str
) -> None:
    handles = [await stage.submit("nap", seconds=0.0) for _ in range(5)]
    key = f"{P}t:{handles[2].id}"
    if what == "another type":
        await command(server, "SET", key, "rubbish")
    elif what == "bytes":
        await command(server, "HSET", key, "s", b"\xc1\xc1")
    elif what == "envelope":
        await command(server, "HSET", key, "e", b"\xc1\xc1")
    else:
        await command(server, "DEL", key)
        await command(server, "HSET", key, "colour", "red")
    with stage.worker("--types", "nap"):
        for one in (*handles[:2], *handles[3:]):
            await one.result(20.0)
        await (await stage.submit("nap", seconds=0.0)).result(20.0)
    async with stage.app.connect() as connection:
        [info] = await connection.faces.needed("view").find([handles[2].id])
        assert info.quarantined
        assert (await total(connection.faces)).quarantined == 1
    assert len({one.id for one in stage.starts()}) == len(stage.starts()) == 5


async def test_entries_of_others_in_a_ready_stream_are_kept_apart(
    stage: Scene, server: Server
) -> None:
    handles = [await stage.submit("nap", seconds=0.0)]
    [stream] = await command(server, "KEYS", f"{P}r:nap:*")
    await command(server, "XADD", stream, "*", "colour", "red")
    await command(server, "XADD", stream, "*", "i", "nap:of-nobody")
    handles += [await stage.submit("nap", seconds=0.0) for _ in range(4)]
    with stage.worker("--types", "nap"):
        for one in handles:
            await one.result(20.0)
        report = await stage.report()
    assert report.ok, report
    assert len(stage.starts()) == 5
    assert await command(server, "LLEN", f"{P}rubbish") == 1


@pytest.mark.parametrize("key", STRUCTURES)
@pytest.mark.parametrize("kind", ["string", "list"])
async def test_what_lies_in_the_place_of_a_structure_is_moved_aside(
    server: Server, faces: Faces, key: str, kind: str
) -> None:
    """Whatever is there: tasks come, wait, are due, run and end; all faces answer."""
    await faces.queue.maintain(0.5)
    if kind == "string":
        await command(server, "SET", P + key, "rubbish")
    else:
        await command(server, "RPUSH", P + key, "rubbish")
    tasks = [
        Task(id="t:plain", lane="t"),
        Task(id="t:later", lane="t", delay=0.1),
        Task(id="t:keyed", lane="t", key="k", key_limit=1),
        Task(id="t:timed", lane="t", queue_timeout=60.0),
        Task(id="t:kh~1", lane="t", unique_key="h"),
    ]
    await faces.queue.put(tasks)
    done: list[str] = []
    async with asyncio.timeout(20):
        for call in range(1, 10_000):
            some = await leased(faces, "t", call)
            if some:
                await ended(faces, *some)
                done += [id for id, _ in some]
            await faces.queue.maintain(0.1)
            await _unparked(faces)
            if len(done) >= len(tasks):
                break
    assert sorted(done) == sorted(one.id for one in tasks)
    await faces.needed("view").workers()
    await faces.needed("view").schedules()
    assert {one.state for one in await faces.needed("view").find(done)} == {State.SUCCESS}


async def _unparked(faces: Faces) -> None:
    """As workers do that have a permit for the key."""
    lines = await faces.queue.parked(["t"], None, 10)
    await faces.queue.control([Unpark(one.lane, one.key, 10) for one in lines.items])


async def test_a_replay_with_an_edit_of_a_damaged_envelope_harms_no_other_command(
    server: Server, faces: Faces
) -> None:
    await faces.queue.put([Task(id=f"t:{id}", lane="t") for id in "ab"])
    await ended(faces, *await leased(faces, "t", 1))
    await command(server, "HSET", f"{P}t:t:a", "e", b"\xc1\xc1")
    edit = Edit(priority=3)
    commands = [Replay(f"t:{id}", edit=edit, request=f"r{id}") for id in "ab"]
    verdicts = await faces.queue.control(commands)
    assert verdicts[1].did is Did.APPLIED
    assert [id for id, _ in await leased(faces, "t", 2)] == ["t:b"]
    [info] = await faces.needed("view").find(["t:a"])
    assert info.quarantined


# -- clocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [3600.0, -3600.0])
async def test_a_clock_that_is_an_hour_off_changes_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    """Of clients and workers; what is due, what expires and who is alive the server decides."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + off)
    app: XQueue = make_app(server.url)
    ran: list[float] = []

    @app.task(queue_timeout=30.0)
    async def look() -> str:
        ran.append(right())
        return "seen"

    async with app, working(app):
        begun = right()
        handle = await look.options(delay=0.5).submit()
        assert await handle.result(20.0) == "seen"
        info: Any = await handle.info()
        [worker] = await _workers(app)
    assert 0.45 < ran[0] - begun < 15.0
    assert abs(info.accepted_at - begun) < 15.0
    assert worker.alive
    await until("it is one run", lambda: len(ran) == 1)


async def _workers(app: XQueue) -> list[Any]:
    async with app.connect() as connection:
        return list(await connection.faces.needed("view").workers())
