"""Isolated handlers, end to end: how their tasks end."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from support.hosts import hosted
from support.processes import alive, notes
from support.workers import until
from xqueue_core import (
    Context,
    Handle,
    State,
    TaskCanceled,
    TaskError,
    TaskFailed,
    TaskTimedOut,
    XQueue,
)
from xqueue_core.around import CallNext, check_middleware
from xqueue_core.client.handler import Submitter
from xqueue_core.task import EventName

pytestmark = pytest.mark.anyio

#: Every event loop and every broker, though not every pair.
each_host = pytest.mark.parametrize(
    ("host", "url"),
    [("asyncio", "memory"), ("uvloop", "sqlite"), ("trio", "sqlite")],
    indirect=["url"],
)
both_brokers = pytest.mark.parametrize("url", ["memory", "sqlite"], indirect=True)


async def submit(app: XQueue, name: str, n: int | None = None, **options: Any) -> Handle[Any]:
    """Submit a task with options."""
    spec = app.handlers[name]
    handler: Submitter[..., Any] = Submitter(app._client, spec, spec.options.but(options))
    return await handler.submit(**({} if n is None else {"n": n}))


async def ends(app: XQueue, name: str, **arguments: Any) -> tuple[str, str]:
    """A task's reason to fail, and its message."""
    handle = await app.submit(name, **arguments)
    with pytest.raises(TaskError) as caught:
        await handle.result(30)
    return getattr(caught.value, "reason", ""), str(caught.value)


async def began(log: Path, name: str) -> list[str]:
    """The words that the handler noted when it began."""
    found: list[str] = await until(
        f"{name} begins",
        lambda: [line.split() for line in notes(log) if line.startswith(f"{name}:")][-1:],
    )
    return list(found[0])


@both_brokers
async def test_results_and_crashes(app: XQueue, host: str) -> None:
    async with hosted(app, host):
        added, later, crash = await asyncio.gather(
            (await app.submit("add", left=1, right=2)).result(30),
            (await app.submit("add_later", left=3, right=4)).result(30),
            ends(app, "crash", how="exit"),
        )
    assert (added, later) == (3, 7)
    assert crash[0] == "crashed"
    assert "the child process exited with code 9 (attempt 2 of 2)" in crash[1]


async def test_how_tasks_end(app: XQueue) -> None:
    async with hosted(app, "asyncio"):
        shy, linger, *failed = await asyncio.gather(
            (await app.submit("shy")).result(30),
            (await app.submit("linger")).result(30),
            ends(app, "broken"),
            ends(app, "refuse", how="reject"),
            ends(app, "refuse", how="no_retry"),
            ends(app, "leave"),
            ends(app, "large", size=600_000),
        )
    assert (shy, linger) == (3, "done")
    broken, reject, no_retry, leave, large = failed
    assert broken[0] == no_retry[0] == leave[0] == "exception"
    assert (reject[0], large[0]) == ("rejected", "result")
    assert "ValueError: no luck (attempt 2 of 2)" in broken[1]
    assert "bad input (attempt 1 of 3)" in reject[1]
    assert "KeyError: 'x' (attempt 1 of 3)" in no_retry[1]
    assert "SystemExit: 3" in leave[1]
    assert "600002 bytes, and 524288 are allowed (attempt 1 of 4)" in large[1]


async def test_the_context_and_the_traceback_cross(
    app: XQueue, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosted(app, "asyncio") as one:
        look = await (await submit(app, "look", headers={"tenant": "t1"})).result(30)
        handle = await app.submit("broken")
        with pytest.raises(TaskFailed) as caught:
            await handle.result(30)
    assert look["worker"] == one.worker.id
    assert (look["parent"], look["session"]) == (os.getpid(), look["pid"])
    assert (look["attempt"], look["token"], look["accepted"]) == (1, True, True)
    assert (look["tenant"], look["canceled"]) == ("t1", False)
    assert 0 < look["remaining"] <= 60
    assert caught.value.error_type == "ValueError"
    assert 'raise ValueError("no luck")' in caught.value.traceback
    first = caught.value.traceback.splitlines()[1]
    assert "/xqueue_core/" not in first, "it begins with the user's code"
    assert 'raise ValueError("no luck")' in caplog.text


async def test_progress_crosses(app: XQueue) -> None:
    async with hosted(app, "asyncio"):
        handle = await submit(app, "steps", delay=0.5)
        done: list[object] = []
        async for notice in handle.events():
            if notice.event is not None and notice.event.name is EventName.PROGRESS:
                done.append(notice.event.data["done"])
            if done[-1:] == [3] or (notice.event is not None and notice.event.state.final):
                break
    assert done[-1] == 3


@each_host
async def test_a_time_out_kills_whatever_runs(app: XQueue, host: str, log: Path) -> None:
    async with hosted(app, host):
        pulse = await app.submit("pulse", seconds=2.0)
        spin = await submit(app, "spin", process_timeout=0.5)
        hold = await submit(app, "hold_gil", process_timeout=0.5)
        for handle in (spin, hold):
            with pytest.raises(TaskTimedOut):
                await handle.result(30)
            history = (await handle.info()).history
            assert history[-1].reason == "process_timeout"
        # What holds a child's interpreter holds up neither the handlers here nor the heartbeat.
        assert await pulse.result(30) < 0.5
    pids = [int(line.split()[2]) for line in notes(log)]
    assert len(pids) == 3  # the second is tried again
    assert not any(map(alive, pids))


@each_host
async def test_cancel_kills(app: XQueue, host: str, log: Path) -> None:
    async with hosted(app, host):
        for name in ("spin", "hold_gil"):
            handle = await app.submit(name)
            pid = int((await began(log, name))[2])
            asked = time.monotonic()
            await handle.cancel()
            with pytest.raises(TaskCanceled):
                await handle.result(30)
            assert time.monotonic() - asked < 2
            assert not alive(pid)
            assert (await handle.info()).state is State.CANCELED


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit", "exited with code 9"),
        ("segfault", "was killed by SIGSEGV"),
        ("SIGKILL", "was killed by SIGKILL (not by this worker: was it out of memory?)"),
        ("SIGABRT", "was killed by SIGABRT"),
    ],
)
async def test_a_child_that_dies_costs_an_attempt_and_nobody_else(
    app: XQueue, log: Path, how: str, words: str
) -> None:
    async with hosted(app, "asyncio"):
        neighbours = [await app.submit("neighbour", n=n) for n in range(10)]
        fellow = await app.submit("add", left=1, right=2)
        reason, text = await ends(app, "crash", how=how)
        assert reason == "crashed"
        assert f"{words} (attempt 2 of 2)" in text
        assert [await one.result(30) for one in neighbours] == list(range(10))
        assert await fellow.result(30) == 3
    assert len(notes(log)) == 2


async def test_a_child_that_cuts_its_wire(app: XQueue, log: Path) -> None:
    async with hosted(app, "asyncio"):
        reason, text = await ends(app, "cut")
        assert (reason, "the child process" in text) == ("crashed", True)
        assert await (await app.submit("add", left=1, right=2)).result(30) == 3
    assert len(notes(log)) == 2


async def test_memory_without_end_ends_that_task_alone(app: XQueue) -> None:
    async with hosted(app, "asyncio"):
        devour = await app.submit("devour")
        neighbours = [await app.submit("neighbour", n=n) for n in range(10)]
        fellow = await app.submit("add", left=1, right=2)
        with pytest.raises(TaskFailed) as caught:
            await devour.result(30)
        assert caught.value.error_type == "MemoryError"
        assert "max_memory is 256 MiB" in str(caught.value)
        assert [await one.result(30) for one in neighbours] == list(range(10))
        assert await fellow.result(30) == 3


@pytest.mark.parametrize("group", [False, True], ids=["same group", "own group"])
async def test_what_a_killed_task_has_started_dies_with_it(
    app: XQueue, log: Path, group: bool
) -> None:
    async with hosted(app, "asyncio"):
        handle = await app.submit("breed", group=group)
        words = await began(log, "breed")
        pids = [int(words[2]), int(words[3])]
        assert all(map(alive, pids))
        await handle.cancel()
        with pytest.raises(TaskCanceled):
            await handle.result(30)
        assert not any(map(alive, pids))  # before the outcome is reported


async def test_what_a_task_leaves_behind_ends_with_its_child(app: XQueue) -> None:
    async with hosted(app, "asyncio"):
        pid = await (await app.submit("leave_behind")).result(30)
        await until("it ends", lambda: not alive(pid), 5)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_child_has_no_file_of_its_worker_and_may_submit(app: XQueue, url: str) -> None:
    async with hosted(app, "asyncio"):
        files = await (await app.submit("files")).result(30)
        assert not [one for one in files if "tasks.db" in one]
        assert sum(one.startswith("socket:") for one in files) <= 2  # its wire; standard output?
        plain = await (await app.submit("submit_plain", n=6)).result(30)
        assert await app.handle(plain).result(30) == 7
        id = await (await app.submit("submit", n=41)).result(30)
        assert await app.handle(id).result(30) == 42


async def test_a_child_refuses_a_broker_that_lives_in_its_worker(app: XQueue) -> None:
    async with hosted(app, "asyncio"):
        handle = await submit(app, "submit", n=1, max_retry=0)
        with pytest.raises(TaskFailed, match="lives in the worker's process alone"):
            await handle.result(30)


@pytest.mark.parametrize("per_child", [1, 20])
async def test_many_tasks_through_two_children(app: XQueue, per_child: int) -> None:
    count = {1: 20, 20: 200}[per_child]
    async with hosted(app, "asyncio", children=2, tasks_per_child=per_child):
        handles = [await app.submit("look") for _ in range(count)]
        looks = [await one.result(50) for one in handles]
    pids = {look["pid"] for look in looks}
    assert count / per_child <= len(pids) <= count / per_child + 3


async def test_middleware_runs_in_the_worker_around_the_child(app: XQueue, log: Path) -> None:
    seen: list[tuple[str, object]] = []

    async def watch(ctx: Context, call_next: CallNext) -> Any:
        try:
            value = await call_next(ctx)
        except BaseException as error:
            seen.append((ctx.type, getattr(error, "reason", type(error).__name__)))
            raise
        seen.append((ctx.type, value))
        return value

    app.middleware = check_middleware([watch])
    async with hosted(app, "asyncio"):
        assert await (await app.submit("add", left=1, right=2)).result(30) == 3
        assert (await ends(app, "crash", how="exit"))[0] == "crashed"
        handle = await app.submit("spin")
        await began(log, "spin")
        await handle.cancel()
        with pytest.raises(TaskCanceled):
            await handle.result(30)
    assert seen == [("add", 3), ("crash", "crashed"), ("crash", "crashed"), seen[-1]]
    assert seen[-1][0] == "spin"
