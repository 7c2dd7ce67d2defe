"""A handler that blocks the event loop is named, whatever loop it is."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from support import worker_app
from support.apps import make_app
from support.hosts import HOSTS, hosted
from support.processes import notes, worker
from support.workers import until
from xqueue_core import State, TaskTimedOut

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


def spin(seconds: float) -> None:
    """Compute."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


@pytest.mark.parametrize(
    ("how", "host"), [*(("sleep", host) for host in HOSTS), ("spin", "asyncio")]
)
async def test_who_blocks_the_loop_is_named(
    host: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def middleware(ctx: Any, call_next: Any) -> Any:
        return await call_next(ctx)

    caplog.set_level(logging.WARNING, "xqueue.worker")
    around = [middleware] if how == "spin" else []
    async with make_app("memory://", middleware=around) as app:

        @app.task(process_timeout=0.5, max_retry=0)
        async def blocks(seconds: float) -> str:
            await anyio.lowlevel.checkpoint()
            (time.sleep if how == "sleep" else spin)(seconds)
            return "done"

        @app.task
        async def waits() -> None:
            await anyio.sleep(0.1)

        async with hosted(app, host):
            other = await waits.submit()
            handle = await blocks.submit(3.2)

            async def overdue() -> list[str]:
                async with app.connect() as connection:
                    infos = await connection.faces.needed("view").workers()
                    return [id for info in infos for id in info.beat.overdue]

            await until("a heartbeat says that it is overdue", overdue)
            assert await overdue() == [handle.id]
            # It could not be told, so it has decided nothing: it ran longer than allowed.
            with pytest.raises(TaskTimedOut, match=r"ran longer than 0\.5 seconds"):
                await handle.result(10)
            await other.result(10)
            await until("its end is logged", lambda: "go on after" in caplog.text)
        said = [one.getMessage() for one in caplog.records if "event loop" in one.getMessage()]
        assert len(said) == 2, said
        line = inspect.getsourcelines(blocks.spec.function)[1] + 3
        begin, end = said
        assert f"handler 'blocks' (task {handle.id}) blocks the event loop, for " in begin
        assert f"{__file__}:{line} in blocks" in begin
        assert ("in spin, called at" in begin) == (how == "spin")
        assert f"handler 'blocks' (task {handle.id}) let the event loop go on after " in end
        assert float(begin.partition(" s so far")[0].split()[-1]) >= 1
        assert 2.5 < float(end.split()[-2]) < 9


async def test_code_that_is_no_handlers_own(caplog: pytest.LogCaptureFixture) -> None:
    blocked = threading.Event()

    def block() -> None:
        blocked.set()
        time.sleep(2.0)

    async with make_app("memory://") as app:

        @app.task
        async def calls() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(child)

        async def child() -> None:
            await anyio.lowlevel.checkpoint()
            block()

        async with hosted(app, "asyncio"):
            handle = await calls.submit()
            await handle.result(10)
            await until("its end is logged", lambda: "go on after" in caplog.text)
    assert f"code that is no handler's own (running: {handle.id})" in caplog.text
    assert f"{__file__}:" in caplog.text


@pytest.mark.parametrize(("seconds", "lost"), [(1.6, False), (4.0, True)])
async def test_a_call_that_holds_the_interpreters_lock(
    tmp_path: Path, seconds: float, lost: bool
) -> None:
    """It stops every thread: it can be told afterwards only, and a lease (2 s) may be lost."""
    log = tmp_path / "handlers.log"
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    async with worker_app.make(url) as app:
        with (
            worker(url, log, "--lanes", "grab") as one,
            worker(url, log, "--lanes", "grab") as other,
        ):
            # Nothing expires before a whole lease has passed since a worker's first contact.
            await until("both serve", lambda: all("serves" in p.log() for p in (one, other)))
            handle = await app.submit("grab", seconds=seconds)
            await until("it runs", lambda: len(notes(log)) == 1)
            first, second = one, other
            if str(other.process.pid) in notes(log)[0].split():
                first, second = other, one
            pid = await handle.result(30)
            await until("it is noticed", lambda: "stood still for" in first.log())
            assert f"code of none: {handle.id})" in first.log()
            info = await handle.info()
            await until("its first run ends", lambda: "end" in str(notes(log)))
            for process in (first, second):
                process.send()
                assert await process.ended() == 0
    assert info.state is State.SUCCESS
    how = [one.how for one in info.history]
    if lost:
        assert (how, pid, info.losses) == (["lost", "success"], second.process.pid, 1)
        # The first run's outcome changed nothing.
        assert "is not current any more" in first.log()
    else:
        assert (how, pid, info.losses) == (["success"], first.process.pid, 0)
    assert sum(one.startswith("start") for one in notes(log)) == (2 if lost else 1)
    assert (await handle.info()).seq == info.seq
