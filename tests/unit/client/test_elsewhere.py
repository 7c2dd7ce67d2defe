"""The client's own loop, for callers on trio."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

import pytest
import trio

from support.plain import wait_until
from xqueue_core.client.elsewhere import Elsewhere
from xqueue_core.client.streams import Stream
from xqueue_core.client.waits import in_plain_code
from xqueue_core.errors import Unavailable


def test_calls_around_a_close_end() -> None:
    elsewhere, ends = Elsewhere(), list[str]()

    async def main() -> None:
        closing, waiting = trio.Event(), trio.Event()
        token = trio.lowlevel.current_trio_token()
        release = asyncio.Event()

        async def forever() -> None:
            token.run_sync_soon(waiting.set)
            await asyncio.Event().wait()

        async def last() -> None:
            token.run_sync_soon(closing.set)
            loops.append(asyncio.get_running_loop())
            await release.wait()

        async def quick() -> str:
            await asyncio.sleep(0)
            return "quick"

        async def waits() -> None:
            try:
                await elsewhere.run(forever)
            except Unavailable:
                ends.append("unavailable")

        loops: list[asyncio.AbstractEventLoop] = []
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                await waiting.wait()
                nursery.start_soon(elsewhere.close, last)
                await closing.wait()
                ends.append(await elsewhere.run(quick))  # begins while the close is under way
                loops[0].call_soon_threadsafe(release.set)
            await elsewhere.close(quick_last)

    async def quick_last() -> None:
        ends.append("closed")

    trio.run(main)
    assert ends == ["quick", "unavailable", "closed"]


async def nothing() -> None: ...


def test_a_stream_that_the_collector_finds_while_the_thread_starts_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = Elsewhere()
    elsewhere.end(nothing, "")

    async def items() -> AsyncIterator[int]:
        yield 1

    class Leaves:
        """Left to the collector, which runs in the new thread before that says it has started."""

        def __init__(self) -> None:
            self.me = self
            self.loop = asyncio.new_event_loop()

        def __del__(self) -> None:
            elsewhere._leave(Stream(items), self.loop)
            self.loop.close()
            ends.append(elsewhere.wait(quick, ""))  # as may whatever else the collector ends

    async def quick() -> str:
        return "quick"

    ends: list[str] = []
    begin = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]
    left = [Leaves()]

    def collects(self: threading.Thread) -> None:
        if self.name == "xqueue-client" and left:
            left.clear()
            gc.collect()
        begin(self)

    monkeypatch.setattr(threading.Thread, "_bootstrap_inner", collects)
    waits = threading.Thread(target=lambda: ends.append(elsewhere.wait(quick, "")), daemon=True)
    waits.start()
    waits.join(20)
    assert ends == ["quick", "quick"], "it hangs"
    elsewhere.end(nothing, "")


def test_an_interrupt_while_a_call_begins_cancels_it() -> None:
    ended: list[bool] = []
    loop = asyncio.new_event_loop()

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    def begin(runs: bool, call: Callable[[], Coroutine[Any, Any, None]]) -> Future[None]:
        begun = asyncio.run_coroutine_threadsafe(call(), loop)
        if runs:
            wait_until("it runs", lambda: len(asyncio.all_tasks(loop)) > 0)
        futures.append(begun)
        raise KeyboardInterrupt

    futures: list[Future[None]] = []
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    for runs in (True, False):
        with pytest.raises(KeyboardInterrupt):
            in_plain_code(call, partial(begin, runs))
        with pytest.raises(CancelledError):
            futures.pop().result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
