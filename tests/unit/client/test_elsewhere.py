"""The client's own loop, for callers on trio."""

from __future__ import annotations

import asyncio

import trio

from xqueue_core.client.elsewhere import Elsewhere
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
