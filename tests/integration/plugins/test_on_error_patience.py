"""on_error functions that are slow, never return, or are cut short."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from support.apps import make_app
from support.hosts import hosted
from support.workers import until
from xqueue_core import Context, State, TaskFailed
from xqueue_core.worker import erring

pytestmark = pytest.mark.anyio


def deep() -> None:
    """Somewhere in the user's code."""
    raise KeyError("deep")


async def test_each_function_is_called_whatever_the_others_do(
    url: str, host: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(erring, "PATIENCE", 0.3)
    called: list[str] = []
    async with make_app(url) as app:

        @app.task(max_retry=0)
        async def job() -> None:
            deep()

        @app.on_error
        async def cancelled(ctx: Context, error: BaseException, final: bool) -> None:
            raise asyncio.CancelledError("a library's own")

        @app.on_error
        async def slow(ctx: Context, error: BaseException, final: bool) -> None:
            await anyio.sleep(30)

        async def inner() -> None:
            await anyio.lowlevel.checkpoint()
            called.append("awaited")

        @app.on_error
        def wrapped(ctx: Context, error: BaseException, final: bool) -> Any:
            return inner()

        @app.on_error
        async def last(ctx: Context, error: BaseException, final: bool) -> None:
            called.append("last")

        async with hosted(app, host):
            with pytest.raises(TaskFailed, match="KeyError"):
                await (await job.submit()).result(10)
    assert called == ["awaited", "last"]
    assert "cancelled failed, which changes nothing: CancelledError" in caplog.text
    assert "slow has taken longer than 0.3 s" in caplog.text


async def test_calls_that_never_return_do_not_hold_up_the_next(
    url: str, host: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(erring, "PATIENCE", 0.3)
    monkeypatch.setattr(erring, "THREADS", 2)
    released = threading.Event()
    called: list[str] = []
    async with make_app(url) as app:

        @app.task(max_retry=0)
        async def job() -> None:
            deep()

        @app.on_error
        def hook(ctx: Context, error: BaseException, final: bool) -> None:
            called.append(ctx.id)
            released.wait(20)

        async with hosted(app, host, concurrency=20):
            for _ in range(2):
                with pytest.raises(TaskFailed):
                    await (await job.submit()).result(10)
            monkeypatch.setattr(erring, "PATIENCE", 30)  # they do not wait for a thread
            for handle in [await job.submit() for _ in range(5)]:
                with pytest.raises(TaskFailed):
                    await handle.result(10)
            assert len(called) == 2
            said = "not called: 2 earlier calls have not returned"
            assert sum(said in one.getMessage() for one in caplog.records) == 5
            released.set()

            async def called_again() -> bool:
                with pytest.raises(TaskFailed):
                    await (await job.submit()).result(10)
                return len(called) > 2

            await until("threads are free again", called_again)


async def test_a_stop_says_what_was_not_called(
    url: str, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun = threading.Event()
    async with make_app(url) as app:

        @app.task(max_retry=0)
        async def job() -> None:
            deep()

        @app.on_error
        async def waits(ctx: Context, error: BaseException, final: bool) -> None:
            begun.set()
            await anyio.sleep(30)

        @app.on_error
        async def other(ctx: Context, error: BaseException, final: bool) -> None: ...

        async with hosted(app, host, grace=0.1):
            handle = await job.submit()
            await until("the function is called", begun.is_set)
        assert await handle.state() is State.FAILED
    assert "waits is not waited for; not called: " in caplog.text
    assert "other" in caplog.text


async def test_a_function_may_be_registered_twice(
    url: str, host: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first call is given up: its cancellation is not the second's."""
    monkeypatch.setattr(erring, "PATIENCE", 0.2)
    calls: list[str] = []

    async def report(ctx: Context, error: BaseException, final: bool) -> None:
        calls.append("begun")
        if len(calls) == 1:
            await anyio.sleep(30)
        await anyio.sleep(0.05)
        calls.append("ended")

    async with make_app(url) as app:
        app.on_error(report)
        app.on_error(report)

        @app.task(max_retry=0)
        async def job() -> None:
            deep()

        async with hosted(app, host):
            with pytest.raises(TaskFailed, match="KeyError"):
                await (await job.submit()).result(10)
    assert calls == ["begun", "begun", "ended"]
    assert "the attempt ends before" not in caplog.text


async def fail_together(url: str, host: str, seconds: float, count: int) -> list[str]:
    """Which of so many tasks that fail at once a plain function was told of that takes so long."""
    told: list[str] = []
    async with make_app(url) as app:

        @app.task(max_retry=0, lane="many")
        async def job() -> None:
            deep()

        @app.on_error
        def report(ctx: Context, error: BaseException, final: bool) -> None:
            told.append(ctx.id)
            threading.Event().wait(seconds)

        async with hosted(app, host, concurrency=50):
            for handle in await app.submit_many([job.call() for _ in range(count)]):
                with pytest.raises(TaskFailed):
                    await handle.result(20)
    return told


async def test_the_wait_for_a_thread_is_no_time_of_the_functions_own(
    url: str, host: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(erring, "PATIENCE", 0.3)
    monkeypatch.setattr(erring, "THREADS", 2)
    told = await fail_together(url, host, 0.05, 20)  # for half a second, so
    assert len(set(told)) == len(told) == 20
    assert "on_error's" not in caplog.text


async def test_the_wait_for_a_thread_ends(
    host: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(erring, "QUEUE", 0.2)
    monkeypatch.setattr(erring, "THREADS", 1)
    told = await fail_together("memory://", host, 0.5, 3)
    assert len(told) < 3
    assert "report was not called: no thread was free within 0.2 s" in caplog.text


async def test_those_who_wait_are_refused_if_nothing_returns(
    host: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(erring, "PATIENCE", 0.2)
    monkeypatch.setattr(erring, "THREADS", 2)
    told = await fail_together("memory://", host, 2.0, 6)
    assert len(told) == 2
    said = "not called: 2 earlier calls have not returned"
    assert sum(said in one.getMessage() for one in caplog.records) == 4
