"""What plugins are told, over every event loop and both brokers; and that they do no harm."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio.lowlevel
import pytest

from support.hosts import hosted
from support.recorder import Recorder, current, producer, recorded
from support.workers import until
from xqueue_core import Context, PluginFailed, Reject, RetryPolicy, State, plugged
from xqueue_core.calls import Put
from xqueue_core.hooks import (
    Hooks,
    How,
    Place,
    WorkerLeased,
    WorkerStarted,
    WorkerStatus,
    WorkerStopped,
)

pytestmark = pytest.mark.anyio

SOON = RetryPolicy(base=0.01)


def told(recorder: Recorder, id: str) -> bool:
    """True if this task's end was told."""
    return any(end.id == id for end in recorder.ends)


async def test_a_task_is_told_of_from_its_submit_to_its_end(url: str, host: str) -> None:
    recorder = Recorder()
    async with recorded(url, recorder) as app:

        @app.task(lane="both")
        async def job(ctx: Context) -> list[str]:
            await anyio.lowlevel.checkpoint()
            return [current.get(), ctx.headers["x-from"]]

        @app.task(lane="both")
        def plain(ctx: Context) -> list[str]:
            return [current.get(), ctx.headers["x-from"]]

        async with hosted(app, host):
            for task, kind in ((job, "coroutine"), (plain, "thread")):
                producer.set(f"before {kind}")
                handle = await task.submit()
                assert await handle.result(10) == [handle.id, f"before {kind}"]
                await until("its end is told", partial(told, recorder, handle.id))
                (run,) = [run for run in recorder.runs if run.id == handle.id]
                assert (run.type, run.lane, run.attempt, run.kind) == (task.name, "both", 1, kind)
                assert run.how is How.SUCCESS
                (end,) = [end for end in recorder.ends if end.id == handle.id]
                assert (end.how, end.state, end.final) == (How.SUCCESS, "success", True)
                assert end.started
                assert 0 <= end.queued < 15
                assert 0 <= end.ran < 15
    assert [site.place for site in recorder.sites] == [Place.CLIENT, Place.WORKER]
    assert Counter(recorder.closed) == Counter([Place.WORKER, Place.CLIENT])
    assert [[one.answer and one.answer.put for one in batch] for batch in recorder.batches] == [  # type: ignore[union-attr]
        [Put.NEW],
        [Put.NEW],
    ]
    assert set(recorder.sites[1].types()) == {"job", "plain"}
    kinds = {type(event) for event in recorder.events}
    assert kinds == {WorkerStarted, WorkerLeased, WorkerStatus, WorkerStopped}
    taken: Counter[str] = Counter()
    for event in recorder.events:
        if isinstance(event, WorkerLeased):
            taken.update(event.taken)
    assert taken == {"both": 2}
    assert isinstance(recorder.events[0], WorkerStarted)
    assert isinstance(recorder.events[-1], WorkerStopped)


async def test_failures_and_retries_each_have_an_end(url: str, host: str) -> None:
    recorder = Recorder()
    async with recorded(url, recorder) as app:

        @app.task(max_retry=1, retry=SOON)
        async def fails() -> None:
            raise KeyError("k")

        @app.task
        def rejects() -> None:
            raise Reject("no")

        @app.task(max_retry=0, process_timeout=0.1)
        async def late() -> None:
            await anyio.sleep(30)

        async with hosted(app, host):
            for task in (fails, rejects, late):
                handle = await task.submit()
                with pytest.raises(Exception, match=r"."):
                    await handle.result(10)
            await until("all is told", lambda: len(recorder.ends) == 4)
    told = [(end.type, end.attempt, end.how, end.state, end.final) for end in recorder.ends]
    assert sorted(told) == [
        ("fails", 1, How.RETRY, "scheduled", False),
        ("fails", 2, How.FAILED, "failed", True),
        ("late", 1, How.TIMEOUT, "timeout", True),
        ("rejects", 1, How.FAILED, "failed", True),
    ]
    assert {end.failure.reason for end in recorder.ends if end.failure} == {
        "exception",
        "rejected",
        "process_timeout",
    }
    left = [(id.partition(":")[0], how, type(error).__name__) for id, how, error in recorder.left]
    assert ("fails", How.RETRY, "KeyError") in left
    assert ("fails", How.FAILED, "KeyError") in left
    assert ("rejects", How.FAILED, "Reject") in left


async def test_many_are_one_batch_and_what_the_producer_said_stands(url: str) -> None:
    recorder = Recorder()
    async with recorded(url, recorder) as app:

        @app.task
        async def job() -> None: ...

        producer.set("plugin")
        own = job.options(headers={"x-from": "mine", "other": "kept"})
        handles = await app.submit_many([job.call(), own.call(), job.options(id="a").call()])
        again = await job.options(id="a").submit()
        assert again.duplicate
        tasks = [info.task for info in await asyncio.gather(*(h.info() for h in handles))]
        assert [task and task.headers for task in tasks] == [
            {"x-from": "plugin"},
            {"x-from": "mine", "other": "kept"},
            {"x-from": "plugin"},
        ]
    assert [len(batch) for batch in recorder.batches] == [3, 1]
    answer: Any = recorder.batches[1][0].answer
    assert answer.put is Put.DUPLICATE


async def test_a_submit_that_fails_is_told_with_its_error(url: str) -> None:
    recorder = Recorder()
    async with recorded(url, recorder, max_payload=100) as app:

        @app.task
        async def job(text: str) -> None: ...

        with pytest.raises(Exception, match="bytes"):
            await job.submit("x" * 200)
    ((one,),) = recorder.batches
    assert "bytes" in str(one.answer)


HOOKS = ["submit", "submit enter", "submit exit", "run", "run enter", "run exit", "ended", "worker"]


@pytest.mark.parametrize("broken", [*HOOKS, "close"])
async def test_a_hook_that_raises_changes_nothing(
    url: str, host: str, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    ran: Counter[str] = Counter()

    def fault(hook: str) -> None:
        if hook == broken:
            raise SystemExit("broken") if broken.startswith("run") else ValueError("broken")

    recorder.fault = fault
    with caplog.at_level(logging.ERROR, "xqueue.plugins"):
        async with recorded(url, recorder) as app:

            @app.task(lane="one")
            async def job(n: int) -> int:
                ran[f"job {n}"] += 1
                return n

            @app.task(lane="one")
            def plain(n: int) -> int:
                ran[f"plain {n}"] += 1
                return n

            async with hosted(app, host):
                calls = [task.call(n) for n in range(5) for task in (job, plain)]
                handles = await app.submit_many(calls)
                results = [await handle.result(10) for handle in handles]
                assert results == [n for n in range(5) for _ in range(2)]
    assert set(ran.values()) == {1}
    hook = "open" if broken == "close" else broken.partition(" ")[0]
    assert app._plugins.failures()["recorder", hook] >= 1
    said = [record.getMessage() for record in caplog.records]
    assert any("'recorder'" in text and f"{hook}()" in text for text in said)
    assert len(said) < 4  # not one for each task


async def test_headers_that_cannot_travel_are_left_out(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    async with recorded(url, recorder) as app:

        @app.task
        async def job() -> None: ...

        for value in ("x" * 20_000, 5, "\ud800"):
            producer.set(value)  # type: ignore[arg-type]
            info = await (await job.submit()).info()
            assert info is not None
            assert info.task is not None
            assert info.task.headers == {}
    assert app._plugins.failures() == {("plugins", "headers"): 3}


async def test_a_plugin_that_cannot_be_opened_ends_the_start(url: str, host: str) -> None:
    recorder = Recorder()

    def fault(hook: str) -> None:
        if hook == "open" and opening:
            raise OSError("the port is taken")

    opening = True
    recorder.fault = fault
    app = recorded(url, recorder)

    @app.task
    async def job() -> str:
        return "done"

    with pytest.raises(PluginFailed, match=r"'recorder' cannot be opened: OSError: the port"):
        await job.submit()
    from support.hosts import Hosted

    worker = Hosted(app, host)
    worker.start()
    assert isinstance(await worker.ended(), PluginFailed)
    opening = False
    async with hosted(app, host):  # and the next try may succeed
        assert await (await job.submit()).result(10) == "done"
    await app.aclose()


async def test_inline_tells_as_a_worker_does() -> None:
    recorder = Recorder()
    async with recorded("inline://", recorder) as app:

        @app.task(max_retry=1)
        async def job() -> str:
            if not recorder.ends:
                raise KeyError("first")
            return current.get()

        handle = await job.submit()
        assert await handle.result(5) == handle.id
    assert [(end.attempt, end.how) for end in recorder.ends] == [(1, How.RETRY), (2, How.SUCCESS)]
    assert len(recorder.batches) == 1


async def test_a_rehearsal_leaves_plugins_out(url: str) -> None:
    recorder = Recorder()
    app = recorded(url, recorder)

    @app.task
    async def job() -> str:
        return current.get()

    async with app.testing() as t:
        handle = await job.submit()
        await t.run_all()
        assert await handle.state() is State.SUCCESS
    assert not recorder.sites


async def test_a_submit_from_plain_code_and_from_trio_has_its_callers_context(url: str) -> None:
    recorder = Recorder()
    app = recorded(url, recorder)

    @app.task
    async def job() -> None: ...

    def plainly() -> None:
        producer.set("plain code")
        job.sync.submit()
        app.sync.close()

    def on_trio() -> None:
        import trio

        async def main() -> None:
            producer.set("trio")
            await job.submit()
            await app.aclose()

        trio.run(main)

    await asyncio.to_thread(plainly)
    await asyncio.to_thread(on_trio)
    assert [batch[0].task.headers["x-from"] for batch in recorder.batches] == ["plain code", "trio"]


async def test_what_a_handler_submits_is_within_its_run(url: str, host: str) -> None:
    recorder = Recorder()
    async with recorded(url, recorder) as app:

        @app.task
        async def inner() -> str:
            return "inner"

        @app.task
        async def outer(ctx: Context) -> str:
            producer.set(current.get())
            handle = await ctx.submit("inner")
            return str(handle.id)

        async with hosted(app, host):
            handle = await outer.submit()
            inner_id = await handle.result(10)
            assert await app.handle(inner_id).result(10) == "inner"
            info = await app.handle(inner_id).info()
            assert info is not None
            assert info.task is not None
            assert info.task.headers["x-from"] == handle.id


@pytest.mark.parametrize("bad", [{"headers": None}, {"task": None}])
async def test_what_a_submit_hook_spoils_is_submitted_all_the_same(bad: dict[str, Any]) -> None:
    class Spoiling(Hooks):
        def submit(self, batch: Any) -> None:
            for one in batch:
                for name, value in bad.items():
                    setattr(one, name, value)
            batch.clear()  # it is a tuple: this raises

    class Plug(Recorder):
        @asynccontextmanager
        async def open(self, settings: Any, site: Any) -> Any:
            yield Spoiling()

    async with recorded("memory://", Plug()) as app:

        @app.task
        async def job() -> None: ...

        assert (await job.submit()).id
        assert len(await app.submit_many([job.call(), job.call()])) == 2


async def test_a_hook_that_blocks_is_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugged, "LONG", -1.0)  # any hook is slow
    async with recorded("memory://", Recorder()) as app:

        @app.task
        async def job() -> None: ...

        await job.submit()
        await job.submit()
    said = [one.getMessage() for one in caplog.records]
    assert sum("plugin 'recorder' took" in one and "submit()" in one for one in said) == 1
