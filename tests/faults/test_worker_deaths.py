"""Workers that die under their tasks: killed from outside, or by what they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.faulty_app import LEASE
from support.history.events import Killed
from support.history.scene import Scene
from xqueue_core import State, TaskFailed

pytestmark = pytest.mark.anyio


async def test_what_a_killed_worker_ran_starts_elsewhere(stage: Scene, tmp_path: Path) -> None:
    nap = stage.handlers["nap"]
    with stage.worker("--concurrency", "5") as victim:
        calls = [nap.call(60.0, marker=str(tmp_path / f"first-{n}")) for n in range(5)]
        handles = await stage.submit_many(calls)
        await stage.started(5)
        with stage.worker("--concurrency", "5") as other:
            await stage.serving(other)
            stage.kill(victim)
            results = [await one.result(LEASE + 15.0) for one in handles]
    assert results == [other.process.pid] * 5
    report = await stage.report()
    assert report.ok, report
    assert len(report["doubled"].excused) == 5
    [kill] = [one for one in stage.events() if isinstance(one, Killed)]
    again = [one.at for one in stage.starts() if one.pid == other.process.pid]
    # The promise is 2 s beyond the lease; a busy machine that runs tests gets some more.
    assert LEASE * 0.5 < max(again) - kill.sent < LEASE + 2.0 + 3.0


@pytest.mark.slow
async def test_one_poison_task_among_a_thousand(stage: Scene) -> None:
    """It ends by its own budget, its 999 neighbours succeed, whatever dies around them."""
    nap, poison = stage.handlers["nap"], stage.handlers["poison"]
    calls = [nap.call(0.01) for _ in range(999)]
    calls.insert(500, poison.call())
    with stage.worker("--processes", "2", "--concurrency", "20") as workers:
        handles = await stage.submit_many(calls)
        bad = handles.pop(500)
        with pytest.raises(TaskFailed) as failed:
            await bad.result(40.0)
        assert failed.value.reason == "worker_lost"
        for one in handles:
            await one.result(30.0)
        workers.send()
        assert await workers.ended() == 0
    report = await stage.report()
    assert report.ok, report
    assert len(stage.starts(bad.id)) == 3, "one for each loss"
    info = await bad.info()
    assert (info.state, info.losses) == (State.FAILED, 3)
    innocents = [await one.info() for one in handles]
    assert max(one.losses for one in innocents) <= 2
    assert {one.attempt for one in innocents} == {1}, "a loss costs no attempt"


async def test_a_segmentation_fault_is_a_loss_like_any_other(stage: Scene, tmp_path: Path) -> None:
    with stage.worker("--processes", "2"):
        handle = await stage.submit("segfault", marker=str(tmp_path / "once"))
        await handle.result(20.0)
    info = await handle.info()
    assert (info.losses, info.attempt) == (1, 1)
    assert [one.how for one in info.history] == ["lost", "success"]
