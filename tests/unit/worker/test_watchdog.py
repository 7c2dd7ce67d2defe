"""The watch on the handlers' loop, on a virtual clock: the test answers for that loop."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from support.virtual import VirtualLoop, run, tools
from unit.worker.parts import make_job
from xqueue_core.worker.job import Job, Ran
from xqueue_core.worker.watchdog import EVERY, PATIENCE, Watchdog, blocker


class Loop:
    """The handlers' loop: it answers while it is not blocked."""

    def __init__(self) -> None:
        self.blocked = False
        self.ended = False
        self.asked: list[Callable[[], None]] = []

    def soon(self, call: Callable[[], None]) -> None:
        """Answer now, or later."""
        if self.ended:
            raise RuntimeError("the loop is closed")
        self.asked.append(call)
        if not self.blocked:
            self.release()

    def release(self) -> None:
        """Answer what was asked."""
        self.blocked = False
        asked, self.asked = self.asked, []
        for call in asked:
            call()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged so far."""
    return [one.getMessage() for one in caplog.records if one.name == "xqueue.worker"]


def test_each_block_is_told_once_at_its_beginning_and_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        loop, job = Loop(), make_job("a")
        job.started = 1.0
        watchdog = Watchdog(loop.soon, 1, [job], tools(), dict)
        task = asyncio.create_task(watchdog.run())
        await asyncio.sleep(100)
        assert said(caplog) == []
        for seconds, count in ((PATIENCE * 0.9, 0), (PATIENCE + EVERY + 0.2, 2), (60.0, 4)):
            loop.blocked = True
            await asyncio.sleep(seconds)
            loop.release()
            await asyncio.sleep(1)
            assert len(said(caplog)) == count
        assert said(caplog)[2].endswith("for 1.1 s so far, at an unknown place")
        assert "(running: job:a)" in said(caplog)[2]
        assert float(said(caplog)[3].split()[-2]) == pytest.approx(60, abs=0.5)
        loop.ended = True
        await asyncio.wait_for(task, 5)

    caplog.set_level(logging.WARNING, "xqueue.worker")
    run(main())


def test_a_process_that_stood_still_blames_no_handler(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        virtual = asyncio.get_running_loop()
        assert isinstance(virtual, VirtualLoop)
        loop = Loop()

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(seconds)
            if stopped:  # nothing ran meanwhile, this thread neither
                virtual.now += stopped.pop()

        stopped: list[float] = []
        own = replace(tools(), sleep=sleep)
        active: list[Job] = []
        past: list[Ran] = []
        task = asyncio.create_task(Watchdog(loop.soon, 1, active, own, past=past).run())
        await asyncio.sleep(10)
        now = virtual.time()
        # One came after the last look, one ended before the next, one began after it all.
        active += [make_job("new"), make_job("later"), make_job("waits")]
        active[0].started, active[1].started = now, now + 31.0
        past += [Ran("job:gone", now - 1, now + 30.3), Ran("job:before", now - 9, now - 3)]
        loop.blocked = True
        stopped.append(30.0)
        await asyncio.sleep(0.6)
        loop.release()
        await asyncio.sleep(5)
        [text] = said(caplog)
        assert "this process stood still for 30.0 s" in text
        assert text.endswith("may be any of them or code of none: job:new, job:gone)")
        active.clear()
        past.clear()
        stopped.append(5.0)
        await asyncio.sleep(7)
        assert "no task was known to run then" in said(caplog)[-1]
        task.cancel()

    caplog.set_level(logging.WARNING, "xqueue.worker")
    run(main())


def test_the_place_is_the_innermost_line() -> None:
    job, place = blocker(sys._getframe())
    assert job is None
    assert place.startswith(f"{__file__}:")
    assert place.endswith(" in test_the_place_is_the_innermost_line")
    assert blocker(None) == (None, "an unknown place")
