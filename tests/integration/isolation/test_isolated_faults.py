"""What goes wrong in the worker while it serves child processes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from support.hosts import hosted
from xqueue_core import Context, TaskFailed, XQueue
from xqueue_core.around import CallNext, check_middleware
from xqueue_core.worker.isolation.member import Child
from xqueue_core.worker.isolation.pool import Pool
from xqueue_core.worker.isolation.process import Process

pytestmark = pytest.mark.anyio

on_asyncio = pytest.mark.parametrize("host", ["asyncio"])


@on_asyncio
async def test_a_child_that_cannot_be_swept_takes_nobody_along(
    app: XQueue, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swept(process: Process) -> bool:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Process, "swept", swept)
    async with hosted(app, host):
        beside = await app.submit("sleep", seconds=2.0)
        bad = await app.submit("crash", how="exit")
        with pytest.raises(TaskFailed, match="the child process cannot be served"):
            await bad.result(20)
        assert await (await app.submit("add", left=1, right=2)).result(20) == 3
        assert await beside.result(20) > 0


@on_asyncio
async def test_a_message_that_cannot_be_handled_ends_that_task_alone(
    app: XQueue, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Pool.received

    def received(pool: Pool, child: Child, message: Any) -> None:
        if child.job is not None and child.job.delivery.task.type == "leave":
            raise LookupError("no such message")
        real(pool, child, message)

    monkeypatch.setattr(Pool, "received", received)
    async with hosted(app, host):
        beside = await app.submit("sleep", seconds=1.0)
        bad = await app.submit("leave")
        assert await beside.result(20) > 0
        assert await (await app.submit("add", left=1, right=2)).result(20) == 3
        with pytest.raises(TaskFailed, match="cannot be served: LookupError"):
            await bad.result(20)


async def test_children_that_nobody_serves_any_more_are_started_anew(
    app: XQueue, host: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, fails = Pool.tick, [True]

    def tick(pool: Pool) -> float:
        if any(child.began for child in pool.children) and fails:
            fails.clear()
            raise MemoryError("too much")
        return real(pool)

    monkeypatch.setattr(Pool, "tick", tick)
    async with hosted(app, host):
        handle = await app.submit("sleep", seconds=30.0)
        with pytest.raises(TaskFailed, match="cannot be served any more: MemoryError"):
            await handle.result(20)
        assert await (await app.submit("add", left=1, right=2)).result(20) == 3
    assert "child processes are started anew" in caplog.text


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@on_asyncio
async def test_children_that_die_before_the_task_begins_are_no_hot_loop(
    app: XQueue, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def spoil(ctx: Context, call_next: CallNext) -> Any:
        cast(dict[str, Any], ctx.headers)["n"] = 1  # which a child refuses to read
        return await call_next(ctx)

    app.middleware = check_middleware([spoil])
    async with hosted(app, host):
        handle = await app.submit("leave")
        with pytest.raises(TaskFailed, match="before the task began") as raised:
            await handle.result(30)
        info = await handle.info()
    assert raised.value.reason == "crashed"
    assert info.attempt == 1
    ended = [one.reason for one in info.history]
    assert ended == ["no child", "no child", "crashed"]
    assert caplog.text.count("before the task began") == 3
