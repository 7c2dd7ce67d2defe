"""Plain functions where the system gives no thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from support.apps import make_app
from support.workers import until
from unit.worker.test_executor import Executing
from xqueue_core import Context
from xqueue_core.around import CallNext
from xqueue_core.task import HandBack, Success
from xqueue_core.worker import Worker


async def layer(ctx: Context, call_next: CallNext) -> Any:
    return await call_next(ctx)


@pytest.mark.parametrize("middleware", [[], [layer]])
def test_a_thread_that_cannot_be_started_costs_no_slot(
    monkeypatch: pytest.MonkeyPatch, middleware: list[Any]
) -> None:
    real, fails = threading.Thread.start, 2

    def start(self: threading.Thread) -> None:
        nonlocal fails
        if fails and self.name.startswith("xqueue-handler-"):
            fails -= 1
            raise RuntimeError("can't start new thread")
        real(self)

    async def main() -> None:
        app = make_app(middleware=middleware)

        @app.task
        def job() -> None: ...

        one = Executing(app)
        for n in range(2):
            one.start("job", str(n))
        assert await one.until_ended(2) == [HandBack(unable="no thread")] * 2
        for n in range(4):
            one.start("job", f"later {n}")
        assert (await one.until_ended(6))[2:] == [Success()] * 4
        one.executor.close()

    monkeypatch.setattr(threading.Thread, "start", start)
    asyncio.run(main())


def test_a_worker_without_threads_does_not_lease_in_a_hot_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = threading.Thread.start
    fails = 2

    def start(self: threading.Thread) -> None:
        nonlocal fails
        if fails and self.name.startswith("xqueue-handler-"):
            fails -= 1
            raise RuntimeError("can't start new thread")
        real(self)

    async def main() -> None:
        app = make_app()

        @app.task
        def job() -> None: ...

        async with app:
            worker = Worker(app)
            running = asyncio.create_task(worker.run())
            handle = await app.submit("job")
            await handle.result(20)
            history = (await handle.info()).history
            worker.stop()
            await running
        assert [one.how for one in history] == ["handback", "handback", "success"]
        first, second, third = [one.started_at for one in history]
        assert second - first >= 1.0
        assert third - second >= 2.0

    monkeypatch.setattr(threading.Thread, "start", start)
    asyncio.run(main())


@pytest.mark.parametrize("middleware", [[], [layer]])
def test_nothing_waits_for_another_job_s_thread(
    monkeypatch: pytest.MonkeyPatch, middleware: list[Any]
) -> None:
    """Its time-out would run meanwhile, and it would start after that."""
    real, fails = threading.Thread.start, False
    ran: list[str] = []
    release = threading.Event()

    def start(self: threading.Thread) -> None:
        if fails and self.name.startswith("xqueue-handler-"):
            raise RuntimeError("can't start new thread")
        real(self)

    async def main() -> None:
        nonlocal fails
        app = make_app(middleware=middleware)

        @app.task
        def job(ctx: Context) -> None:
            ran.append(ctx.id)
            release.wait(10)

        one = Executing(app)
        one.start("job", "first")
        await until("the first runs", lambda: len(ran) == 1)
        fails = True
        one.start("job", "second")
        assert await one.until_ended(1) == [HandBack(unable="no thread")]
        fails = False
        one.start("job", "third")
        await until("the third runs", lambda: len(ran) == 2)
        release.set()
        assert (await one.until_ended(3))[1:] == [Success()] * 2
        assert ran == ["job:first", "job:third"]
        one.executor.close()

    monkeypatch.setattr(threading.Thread, "start", start)
    asyncio.run(main())
