"""Who waits is woken by whatever changes the file."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from xqueue_logfile import LogRecords  # type: ignore[import-not-found, unused-ignore]

from xqueue_core.stored.bell import PollingBell
from xqueue_core.stored.clock import host_clock
from xqueue_core.stored.records import ANY, Change, Group


def test_a_change_wakes_who_waits_and_none_is_missed(tmp_path: Path) -> None:
    async def scenario() -> None:
        writer = LogRecords(tmp_path / "test.log", False, host_clock)

        async def change() -> None:
            await writer.swap([Group([Change("a", ANY, b"")])])

        async with PollingBell(writer.look).listen(["any"]) as wait:
            await change()
            started = time.monotonic()
            await wait(20.0)  # it changed before the first wait
            _, change_ended = await asyncio.gather(wait(20.0), asyncio.create_task(change()))
            assert change_ended is None
            assert time.monotonic() - started < 10.0
            started = time.monotonic()
            await wait(0.05)  # nothing changes
            assert time.monotonic() - started >= 0.05
        writer.close()

    asyncio.run(scenario())
