"""What is noted of a worker's heartbeats."""

import asyncio
from pathlib import Path

from support.fake_queue import FakeQueue
from support.history import events as e
from support.history.noting import NotingQueue
from support.history.writer import Writer, read
from xqueue_core.calls import Beat


def test_a_heartbeat_that_leaves_is_none_that_renews(tmp_path: Path) -> None:
    async def beats() -> None:
        queue = NotingQueue(FakeQueue(), Writer(tmp_path / "history"))
        await queue.extend(Beat(worker="w"), [])
        await queue.extend(Beat(worker="w", leaving=True), [])

    asyncio.run(beats())
    assert [type(one) for one in read(tmp_path / "history")] == [e.Born, e.Renewed]
