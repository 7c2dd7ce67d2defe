"""A worker process whose engine or whose handlers' loop fails says so, and ends with 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.apps import make_app
from support.processes import Cli, alive, cli, notes
from support.workers import until
from xqueue_core import State, XQueue
from xqueue_core.task import Task

pytestmark = pytest.mark.anyio

#: An app whose engine fails, or whose handlers' loop is ended from within.
APP = """
import asyncio, os, sys, threading, time
from support.apps import make_app
from support.processes import URL, note
from xqueue_core import Context
from xqueue_core.worker.settler import Settler

app = make_app(os.environ[URL], lease=2.0, heartbeat=0.2, lease_wait=1.0)
broken = threading.Event()

async def run(self):
    while not broken.is_set():
        await asyncio.sleep(0.01)
    raise RuntimeError("the disk is on fire")

@app.task
async def breaks(ctx: Context, seconds: float) -> None:
    Settler.run = run
    note(f"start {ctx.id} {ctx.attempt} {os.getpid()}")
    broken.set()
    time.sleep(seconds)

@app.task
async def leaves(ctx: Context, code: int) -> None:
    note(f"start {ctx.id} {ctx.attempt} {os.getpid()}")
    async def leave() -> None:
        sys.exit(code)
    subtask = asyncio.create_task(leave())
    await asyncio.sleep(30)

@app.task
async def cancels(ctx: Context) -> None:
    for one in asyncio.all_tasks():
        one.cancel()
    await asyncio.sleep(30)

if os.environ.get("ENGINE_BREAKS"):
    Settler.run = run
"""


def worker(url: str, log: Path, *arguments: str) -> Any:
    """A worker process of the app above."""
    path = log.with_name("crashing.py")
    path.write_text(APP)
    return cli(url, log, "worker", str(path), *arguments)


async def put(app: XQueue, name: str, payload: str = "{}") -> Any:
    """Put a task of a type that this process does not know."""
    task = Task(id=f"{name}:1", lane=name, payload=payload.encode())
    async with app.connect() as connection:
        await connection.faces.queue.put([task])
    return app.handle(task.id)


async def ends_with_1(process: Cli, what: str) -> None:
    """It ends with 1 and tells why."""
    assert await process.ended() == 1, process.log()
    assert what in process.log()


@pytest.mark.parametrize("seconds", [0.0, 8.0])
async def test_an_engine_that_fails(
    url: str, log: Path, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a handler keeps the loop from ending."""
    monkeypatch.setenv("ENGINE_BREAKS", "1")
    async with make_app(url) as app:
        with worker(url, log) as process:
            await put(app, "breaks", f'{{"seconds": {seconds}}}')
            await ends_with_1(process, "the disk is on fire")


@pytest.mark.parametrize("code", [0, 3])
async def test_a_subtask_that_leaves_counts_as_a_crash(url: str, log: Path, code: int) -> None:
    async with make_app(url) as app:
        handle = await put(app, "leaves", f'{{"code": {code}}}')
        with worker(url, log) as process:
            await ends_with_1(process, "SystemExit")
        with worker(url, log, "--processes", "2") as process:
            await until("the task ends", lambda: "ended with code 1" in process.log(), 20.0)
            await until("it is replaced", lambda: process.log().count("started worker") >= 3)
            process.send()
            await process.ended()
        assert (await handle.info()).losses >= 1
        assert len(notes(log)) >= 2
        assert not any(alive(int(one.split()[3])) for one in notes(log))


async def test_a_handler_that_cancels_the_worker(url: str, log: Path) -> None:
    async with make_app(url) as app:
        handle = await put(app, "cancels")
        with worker(url, log) as process:
            await ends_with_1(process, "CancelledError")
        assert await handle.state() in (State.PENDING, State.SCHEDULED)
