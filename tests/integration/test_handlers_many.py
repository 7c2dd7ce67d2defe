"""Many tasks that wait at once; and what must not harm the worker."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import anyio
import pytest
import trio

from support.apps import make_app
from support.hosts import HOSTS, hosted
from support.workers import until
from xqueue_core import Context, RetryPolicy, TaskFailed, TaskTimedOut

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.mark.parametrize("host", ["asyncio", "trio"])
async def test_ten_thousand_tasks_a_hundred_waiting_at_once(host: str) -> None:
    now = most = ran = 0

    async with make_app("memory://") as app:

        @app.task
        async def waits() -> None:
            nonlocal now, most, ran
            now += 1
            most = max(most, now)
            if host == "trio":
                await trio.sleep(0.01)
            else:
                await asyncio.sleep(0.01)
            now -= 1
            ran += 1

        for _ in range(10):
            await app.submit_many(waits.call() for _ in range(1000))
        begun = time.monotonic()
        async with hosted(app, host, concurrency=100):

            async def done() -> bool:
                async with app.connect() as connection:
                    stats = await connection.faces.needed("view").stats()
                return bool(stats.total().success == 10_000)

            await until("all have ended", done, 45, 0.1)
        print(f"{host}: 10,000 tasks in {time.monotonic() - begun:.1f} s, {most} at once")
    assert (now, ran) == (0, 10_000)
    assert 90 <= most <= 100


class Unspeakable(Exception):
    """Nothing can be said about it."""

    def __str__(self) -> str:
        raise SystemExit(3)


class NeverRight(RetryPolicy):
    """A policy with a fault."""

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Raises."""
        raise ZeroDivisionError("a fault in the policy")


@pytest.mark.parametrize("host", HOSTS)
async def test_faults_in_callbacks_policies_and_errors_harm_one_task_at_most(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise ValueError("a callback's fault")

    async def nothing() -> None: ...

    async with make_app("memory://") as app:

        @app.task
        async def calls_back() -> str:
            if host == "trio":
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await trio.sleep(1)
                return "fine"
            loop = asyncio.get_running_loop()
            loop.call_soon(fails)
            asyncio.create_task(nothing()).add_done_callback(lambda _: fails())
            await asyncio.sleep(0.01)
            return "fine"

        @app.task(max_retry=0)
        async def unspeakable() -> None:
            raise Unspeakable

        @app.task(retry=NeverRight())
        async def policy() -> None:
            raise KeyError("k")

        @app.task(retry=NeverRight())
        def policy_in_a_thread() -> None:
            raise KeyError("k")

        async with hosted(app, host):
            handles = [await one.submit() for one in (unspeakable, policy, policy_in_a_thread)]
            for handle in handles:
                with pytest.raises(TaskFailed):
                    await handle.result(10)
            for _ in range(3):
                assert await (await calls_back.submit()).result(10) == "fine"


@pytest.mark.parametrize("host", ["asyncio", "trio"])
async def test_a_coroutine_that_does_not_heed_its_time_out_is_overdue(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "xqueue.worker")
    released = threading.Event()
    cancels = 0

    async with make_app("memory://") as app:

        @app.task(process_timeout=0.1, max_retry=0)
        async def swallows(ctx: Context) -> None:
            nonlocal cancels
            while not released.is_set():
                try:
                    with anyio.CancelScope(shield=cancels > 0):
                        await anyio.sleep(0.02)
                except BaseException:
                    cancels += 1
            assert ctx.canceled
            raise RuntimeError("at last")

        async with hosted(app, host) as one:
            handle = await swallows.submit()

            async def overdue() -> bool:
                async with app.connect() as connection:
                    infos = await connection.faces.needed("view").workers()
                    return [id for info in infos for id in info.beat.overdue] == [handle.id]

            await until("a heartbeat says that it is overdue", overdue)
            assert "runs on beyond its time-out" in caplog.text
            assert one.worker.exit is None
            released.set()
            with pytest.raises(TaskTimedOut):
                await handle.result(10)
    assert cancels == 1
