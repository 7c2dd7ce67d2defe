"""Plugins and on_error where handlers run in child processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest

from support import watched_app
from support.hosts import hosted
from support.processes import LOG, URL
from support.sentry import Tracker
from support.spans import Traces, id_of, parent_of, trace_of
from support.workers import until
from xqueue_core import Context, TaskError, XQueue
from xqueue_core.around import CallNext

pytestmark = pytest.mark.anyio

each_host = pytest.mark.parametrize(
    ("host", "broker"), [("asyncio", "memory"), ("uvloop", "sqlite"), ("trio", "sqlite")]
)


@pytest.fixture
def traces() -> Traces:
    """Where this process's spans go."""
    return Traces()


@pytest.fixture
def tracker() -> Tracker:
    """What on_error tells."""
    return Tracker()


async def passed(ctx: Context, call_next: CallNext) -> Any:
    """Middleware that does nothing."""
    return await call_next(ctx)


async def goes_on(ctx: Context, call_next: CallNext) -> Any:
    """Middleware that can be told to end after the handler has returned."""
    value = await call_next(ctx)
    await anyio.lowlevel.checkpoint()
    return value


@pytest.fixture(params=[(), (passed,)], ids=["bare", "middleware"])
async def app(
    request: pytest.FixtureRequest,
    broker: str,
    tmp_path: Any,
    traces: Traces,
    tracker: Tracker,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[XQueue]:
    """The app, here and in its children."""
    url = "memory://" if broker == "memory" else f"sqlite:///{tmp_path / 'tasks.db'}"
    monkeypatch.setenv(URL, url)
    made = watched_app.make(url, traces, middleware=request.param)

    @made.on_error
    def report(ctx: Context, error: BaseException, final: bool) -> None:
        said = {"error_type": getattr(error, "error_type", "")}
        tracker.capture_exception(error, type=ctx.type, final=final, **said)

    monkeypatch.setattr(watched_app, "app", made, raising=False)
    async with made:
        yield made


@each_host
async def test_spans_and_errors_of_children(
    app: XQueue, host: str, traces: Traces, tracker: Tracker
) -> None:
    async with hosted(app, host):
        found = await (await app.submit("current")).result(30)
        for name in ("fails", "rejects", "dies", "late"):
            with pytest.raises(TaskError):
                await (await app.submit(name)).result(30)
        await until("all are told", lambda: len(tracker.events) == 4)
    spans = traces.named("process apart")
    assert len(spans) == 5
    sends = traces.named("send apart")
    assert [parent_of(span) for span in spans] == [id_of(span) for span in sends]
    # The handler in the child is within the worker's span.
    assert found == [trace_of(spans[0]), id_of(spans[0])]
    said = {span.attributes["xqueue.task.type"]: span for span in spans if span.attributes}
    failed = said["fails"]
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "KeyError"
    (event,) = failed.events
    assert event.attributes is not None
    assert "in fails" in str(event.attributes["exception.stacktrace"])
    told = {one.tags["type"]: one for one in tracker.events}
    assert all(one.tags["final"] for one in tracker.events)
    assert told["fails"].tags["error_type"] == "KeyError"
    assert "KeyError: 'apart'" in told["fails"].message
    assert told["rejects"].tags["error_type"].endswith("Reject")
    assert "killed by SIGKILL" in told["dies"].message
    assert told["late"].kind == "TaskTimedOut"


@pytest.mark.parametrize("app", [(), (goes_on,)], ids=["bare", "middleware"], indirect=True)
@pytest.mark.parametrize(("host", "broker"), [("asyncio", "sqlite"), ("trio", "sqlite")])
async def test_a_collector_that_is_away_makes_no_time_out(app: XQueue, host: str) -> None:
    async with hosted(app, host):
        handle = await app.submit("heard_late")
        assert await handle.result(30) == "done"
        info = await handle.info()
    assert info.attempt == 1


@pytest.mark.parametrize("app", [(), (goes_on,)], ids=["bare", "middleware"], indirect=True)
@pytest.mark.parametrize(("host", "broker"), [("asyncio", "sqlite"), ("trio", "sqlite")])
async def test_a_cancel_while_plugins_leave_comes_too_late(
    app: XQueue, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv(LOG, str(log))
    async with hosted(app, host):
        handle = await app.submit("heard_late")
        await until("its plugins leave", lambda: "leaving" in log.read_text(), 20)
        await handle.cancel()
        assert await handle.result(30) == "done"


@pytest.mark.parametrize(("host", "broker"), [("asyncio", "sqlite")])
async def test_a_child_that_asks_to_be_run_again_has_not_failed(
    app: XQueue, host: str, tracker: Tracker
) -> None:
    async with hosted(app, host):
        with pytest.raises(TaskError):
            await (await app.submit("again")).result(30)
    assert [one.tags["final"] for one in tracker.events] == [True]
