"""Middleware and callbacks that raise, and two worker processes under one id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import odd_app
from support.processes import Cli, cli, notes
from support.workers import until
from xqueue_core import TaskFailed

pytestmark = pytest.mark.anyio


@pytest.fixture
async def handlers(url: str) -> AsyncIterator[dict[str, Any]]:
    """The app's handlers, in this process as a client."""
    app, found = odd_app.make(url)
    async with app:
        yield found


@pytest.mark.parametrize("lane", ["before", "after"])
async def test_middleware_that_raises_costs_its_task_alone(
    handlers: dict[str, Any], url: str, log: Path, lane: str
) -> None:
    """Retried once, then failed; the lane's only permit comes back each time."""
    with cli(url, log, "worker", "support.odd_app:app", "--concurrency", "4") as worker:
        handles = [await handlers[lane].submit() for _ in range(3)]
        for one in handles:
            with pytest.raises(TaskFailed, match=f"{lane} the handler"):
                await one.result(15.0)
            assert (await one.info()).attempt == 2
        other = await handlers["nap"].submit(0.0)
        assert await other.result(10.0) == worker.process.pid
    ran = [line for line in notes(log) if line.startswith(lane)]
    assert len(ran) == (6 if lane == "after" else 0)


async def test_callbacks_that_raise_leave_the_loop_running(
    handlers: dict[str, Any], url: str, log: Path
) -> None:
    with cli(url, log, "worker", "support.odd_app:app") as worker:
        for name, given in (("callback", ()), ("nap", (0.0,)), ("callback", ()), ("nap", (0.0,))):
            handle = await handlers[name].submit(*given)
            assert await handle.result(10.0) == worker.process.pid
        worker.send()
        assert await worker.ended() == 0
        assert "ZeroDivisionError" in worker.log()
        assert "invalid literal for int" in worker.log()


@contextmanager
def _named(url: str, log: Path, name: str) -> Iterator[Cli]:
    process = Cli(url, log, name, script=Path(odd_app.__file__))
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
        process.process.communicate()


async def test_a_second_process_under_a_living_ones_id_ends(
    handlers: dict[str, Any], url: str, log: Path
) -> None:
    """It says why; the first finishes what it runs, and takes more."""
    with _named(url, log, "same~1") as first:
        handles = [await handlers["nap"].submit(3.0) for _ in range(5)]
        await until("they run", lambda: len(notes(log)) == 5)
        with _named(url, log, "same~1") as second:
            assert await second.ended() == 1
            assert "WorkerIdTaken" in second.log()
            assert "same~1" in second.log()
        handles += [await handlers["nap"].submit(0.0) for _ in range(5)]
        for one in handles:
            assert await one.result(10.0) == first.process.pid
            assert [step.how for step in (await one.info()).history] == ["success"]
    assert len(set(notes(log))) == len(notes(log)) == 10
