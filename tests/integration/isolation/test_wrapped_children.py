"""Middleware runs in the worker, around what runs in a child process."""

from __future__ import annotations

import os

import pytest

from support import wrapped_app
from support.hosts import hosted
from support.processes import URL
from support.workers import until
from xqueue_core import State, TaskCanceled, TaskFailed, TaskTimedOut

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["asyncio", "trio"])
async def test_middleware_around_children(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "memory://")
    app, fails = wrapped_app.make("memory://")
    monkeypatch.setattr(wrapped_app, "app", app, raising=False)
    async with app, hosted(app, host):
        handles = [await app.submit("where") for _ in range(3)]
        for handle in handles:
            child, here = await handle.result(30)
            assert here == os.getpid() != child
        swallowed = await fails.options(headers={"swallow": "1"}).submit()
        assert await swallowed.result(30) == ["swallowed", "LookupError"]
        failing = await fails.submit()
        with pytest.raises(TaskFailed, match="in the child") as caught:
            await failing.result(30)
        assert caught.value.error_type == "LookupError"
        assert (await failing.info()).attempt == 2
        with pytest.raises(TaskTimedOut):
            await (await app.submit("hangs")).result(30)
        hanging = await app.submit("hangs")

        async def runs() -> bool:
            return await hanging.state() is State.PROCESSING

        await until("it runs", runs)
        await hanging.cancel()
        with pytest.raises((TaskCanceled, TaskTimedOut)):
            await hanging.result(30)
        child, here = await (await app.submit("where")).result(30)
        assert here == os.getpid() != child
        # Told of the time-out after the handler's end, middleware decides.
        _, said = await (await app.submit("waited")).result(30)
        assert said == "decided"


async def test_a_child_that_its_middleware_leaves_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(URL, "memory://")
    app, _ = wrapped_app.make("memory://")
    monkeypatch.setattr(wrapped_app, "app", app, raising=False)
    async with app, hosted(app, "asyncio"):
        handle = await app.submit("left")
        # It is ended at its time-out; what the middleware had returned by then is not believed.
        with pytest.raises(TaskTimedOut):
            await handle.result(30)
        child, here = await (await app.submit("where")).result(30)
        assert here == os.getpid() != child
