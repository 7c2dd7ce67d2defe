"""A coroutine that swallows its cancellation: it can be told, but not stopped."""

from __future__ import annotations

import pytest

from support.history.events import Ended, Told
from support.history.scene import Scene
from xqueue_core import State, TaskTimedOut

pytestmark = pytest.mark.anyio


async def test_one_that_comes_to_an_end_all_the_same_keeps_its_result(stage: Scene) -> None:
    """It held its slot until then, and others had theirs."""
    with stage.worker("--concurrency", "2") as worker:
        handle = await stage.submit("stubborn", seconds=1.5)
        await stage.until("it runs", stage.starts)
        other = await stage.submit("nap", seconds=0.0)
        assert await other.result(10.0) == worker.process.pid
        assert await handle.state() is State.PROCESSING
        assert await handle.result(10.0) == "went on"
    report = await stage.report()
    assert report.ok, report


async def test_one_that_never_ends_has_its_process_replaced(stage: Scene) -> None:
    with stage.worker("--concurrency", "2", "--grace", "1", "--processes", "2") as worker:
        handle = await stage.submit("stubborn", seconds=60.0)
        with pytest.raises(TaskTimedOut):
            await handle.result(20.0)
        await (await stage.submit("nap", seconds=0.0)).result(20.0)
        worker.send()
        assert await worker.ended() == 0
    [stuck, after] = stage.starts()
    assert stuck.pid != after.pid
    events = stage.events()
    assert not any(isinstance(one, Ended) and one.id == handle.id for one in events)
    assert not any(isinstance(one, Told) for one in events), "it swallowed the word"
    info = await handle.info()
    assert (info.losses, info.attempt) == (0, 1)
