"""``@app.on_error`` with a tracker of errors, over every event loop and both brokers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from support.apps import make_app
from support.hosts import hosted
from support.sentry import Tracker, add_breadcrumb
from support.workers import until
from xqueue_core import (
    ConfigError,
    Context,
    Reject,
    Retry,
    RetryPolicy,
    State,
    TaskFailed,
    TaskTimedOut,
    XQueue,
)
from xqueue_core.around import CallNext
from xqueue_core.worker import erring

pytestmark = pytest.mark.anyio

SOON = RetryPolicy(base=0.01)


def deep() -> None:
    """Somewhere in the user's code."""
    raise KeyError("deep")


def tracked(app: XQueue, tracker: Tracker, *, plain: bool) -> None:
    """Have the tracker told."""

    def report(ctx: Context, error: BaseException, final: bool) -> None:
        tracker.capture_exception(error, id=ctx.id, type=ctx.type, attempt=ctx.attempt, final=final)

    async def awaited(ctx: Context, error: BaseException, final: bool) -> None:
        await anyio.lowlevel.checkpoint()
        report(ctx, error, final)

    app.on_error(report if plain else awaited)


def declare(app: XQueue) -> dict[str, Any]:
    """Handlers that fail in every way."""

    @app.task(max_retry=1, retry=SOON)
    async def fails() -> None:
        await anyio.lowlevel.checkpoint()
        add_breadcrumb("in the coroutine")
        deep()

    @app.task(max_retry=1, retry=SOON)
    def plain() -> None:
        add_breadcrumb("in the thread")
        deep()

    @app.task
    async def rejects() -> None:
        raise Reject("never")

    @app.task(max_retry=0, process_timeout=0.1)
    async def late() -> None:
        await anyio.sleep(30)

    @app.task(max_retry=0)
    async def odd() -> object:
        return object()

    @app.task(max_retry=1)
    async def again() -> None:
        raise Retry(delay=0.01)

    @app.task
    async def fine() -> None: ...

    return {one.name: one for one in (fails, plain, rejects, late, odd, again, fine)}


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_each_failed_attempt_is_told_once(url: str, host: str, plain: bool) -> None:
    tracker = Tracker()
    async with make_app(url) as app:
        tracked(app, tracker, plain=plain)
        tasks = declare(app)
        async with hosted(app, host):
            handles = [await task.submit() for task in tasks.values()]
            for handle in handles:
                await until("it has ended", partial(ended, handle))
    told = [(one.tags["type"], one.tags["attempt"], one.tags["final"]) for one in tracker.events]
    assert sorted(told) == [
        ("again", 2, True),  # the first time it asked to be run again
        ("fails", 1, False),
        ("fails", 2, True),
        ("late", 1, True),
        ("odd", 1, True),
        ("plain", 1, False),
        ("plain", 2, True),
        ("rejects", 1, True),
    ]
    found = {one.tags["type"]: one for one in tracker.events}
    assert found["fails"].kind == "KeyError"
    assert found["fails"].frames[-2:] == ["fails", "deep"]
    assert found["fails"].breadcrumbs == ("in the coroutine",)
    assert found["plain"].frames[-2:] == ["plain", "deep"]
    assert found["plain"].breadcrumbs == ("in the thread",)
    assert found["late"].kind == "TaskTimedOut"
    assert "late" in found["late"].frames  # where it was
    assert found["rejects"].kind == "Reject"
    assert found["odd"].kind == "FailedElsewhere"
    assert "no JSON form" in found["odd"].message


async def ended(handle: Any) -> bool:
    """True if the task is final."""
    return bool((await handle.state()).final)


async def test_what_a_function_raises_is_logged_and_changes_nothing(
    url: str, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker()
    async with make_app(url) as app:

        @app.on_error
        def broken(ctx: Context, error: BaseException, final: bool) -> None:
            raise OSError("no network")

        @app.on_error
        async def broken_too(ctx: Context, error: BaseException, final: bool) -> None:
            raise SystemExit("no way")

        tracked(app, tracker, plain=True)

        @app.task(max_retry=1, retry=SOON)
        async def job() -> None:
            deep()

        async with hosted(app, host):
            with pytest.raises(TaskFailed, match="KeyError"):
                await (await job.submit()).result(10)
    assert len(tracker.events) == 2  # the functions after it are called all the same
    said = [record.getMessage() for record in caplog.records]
    assert sum("broken failed, which changes nothing: OSError" in text for text in said) == 2
    assert sum("broken_too failed, which changes nothing: System" in text for text in said) == 2


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_a_function_that_does_not_end_is_not_waited_for(
    url: str, host: str, plain: bool, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(erring, "PATIENCE", 0.1)
    released = threading.Event()
    async with make_app(url) as app:

        @app.task(max_retry=0)
        async def job() -> None:
            deep()

        def waits(ctx: Context, error: BaseException, final: bool) -> None:
            released.wait(20)

        async def sleeps(ctx: Context, error: BaseException, final: bool) -> None:
            await anyio.sleep(30)

        app.on_error(waits if plain else sleeps)
        async with hosted(app, host):
            with pytest.raises(TaskFailed, match="KeyError"):
                await (await job.submit()).result(10)
            released.set()
    assert "has taken longer than 0.1 s" in caplog.text


async def test_a_stop_does_not_wait_for_a_function(url: str, host: str) -> None:
    begun, released = threading.Event(), threading.Event()
    async with make_app(url) as app:

        @app.task(max_retry=0)
        async def job() -> None:
            deep()

        @app.on_error
        def waits(ctx: Context, error: BaseException, final: bool) -> None:
            begun.set()
            released.wait(20)

        async with hosted(app, host, grace=0.1):
            handle = await job.submit()
            await until("the function is called", begun.is_set)
        released.set()
        assert await handle.state() is State.FAILED  # and not handed back


async def test_middleware_and_bad_payloads(url: str, host: str) -> None:
    tracker = Tracker()

    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        add_breadcrumb("middleware")
        try:
            return await call_next(ctx)
        except KeyError as error:
            raise ValueError("changed") from error

    async with make_app(url, middleware=[middleware]) as app:
        tracked(app, tracker, plain=False)

        @app.task(max_retry=0)
        async def job() -> None:
            deep()

        @app.task(max_retry=0)
        def plain(n: int) -> None:
            deep()

        other = make_app(url)
        other._backends = app._backends

        @other.task(name="plain")
        async def wrong(n: str) -> None: ...

        async with hosted(app, host):
            for handle in (await job.submit(), await plain.submit(1), await wrong.submit("x")):
                await until("it has ended", partial(ended, handle))
        await other.aclose()
    assert sorted((one.kind, one.breadcrumbs) for one in tracker.events) == [
        ("InvalidTask", ("middleware",)),
        ("ValueError", ("middleware",)),
        ("ValueError", ("middleware",)),
    ]


async def test_a_rehearsal_calls_it(url: str) -> None:
    tracker = Tracker()
    app = make_app(url)
    tracked(app, tracker, plain=True)
    tasks = declare(app)
    async with app.testing(raise_errors=False) as t:
        await tasks["fails"].submit()
        await tasks["plain"].submit()
        await t.run_all()
    assert [one.tags["final"] for one in tracker.events] == [False, False, True, True]

    async with app.testing() as t:
        await tasks["fails"].submit()
        with pytest.raises(KeyError, match="deep"):
            await t.run_all()
    assert len(tracker.events) == 6


async def test_inline_calls_it() -> None:
    tracker = Tracker()
    async with make_app("inline://") as app:
        tracked(app, tracker, plain=False)
        tasks = declare(app)
        handle = await tasks["fails"].submit()
        with pytest.raises(TaskFailed):
            await handle.result(5)
    assert [one.tags["final"] for one in tracker.events] == [False, True]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda ctx, error: None, r"write `def <lambda>\(ctx, error, final\)`"),
        (5, "takes a function, not 5"),
        (Tracker, "takes a function"),
    ],
)
def test_what_is_no_such_function_is_refused(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        XQueue().on_error(function)


async def test_a_late_answer_is_told_as_late(url: str) -> None:
    """A plain function cannot be told of its time-out: there is no place where it was."""
    tracker = Tracker()
    async with make_app(url) as app:
        tracked(app, tracker, plain=True)

        @app.task(max_retry=0, process_timeout=0.05)
        def job(ctx: Context) -> None:
            event = threading.Event()
            while (ctx.remaining or 0) > 0:
                event.wait(0.01)
            event.wait(0.1)

        async with hosted(app, "asyncio"):
            with pytest.raises(TaskTimedOut):
                await (await job.submit()).result(10)
    (one,) = tracker.events
    assert (one.kind, one.frames, one.tags["final"]) == ("TaskTimedOut", [], True)
