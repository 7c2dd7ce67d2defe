"""Workers that stand still for longer than their lease, and come back to find it gone."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.faulty_app import LEASE
from support.history.events import Ended
from support.history.scene import Scene
from xqueue_core import State

pytestmark = pytest.mark.anyio


async def test_a_late_result_changes_nothing(stage: Scene) -> None:
    """Stopped past its lease, then continued: its handlers return, and are not heard."""
    with stage.worker("--concurrency", "4") as sleeper:
        handles = await stage.submit_many([stage.handlers["nap"].call(1.5) for _ in range(4)])
        await stage.started(4)
        stage.stop(sleeper)
        with stage.worker("--concurrency", "4") as other:
            results = [await one.result(LEASE + 15.0) for one in handles]
            before = [await one.info() for one in handles]
            stage.go_on(sleeper)
            late = [one.token for one in stage.starts() if one.pid == sleeper.process.pid]
            await stage.until("the late handlers end", lambda: _ended(stage, late) == 4)
            # Its next heartbeats have come when it does new work.
            stage.kill(other)
            assert await (await stage.submit("nap", seconds=0.0)).result(10) == sleeper.process.pid
    assert results == [other.process.pid] * 4
    after = [await one.info() for one in handles]
    assert [(one.seq, one.result, one.worker) for one in after] == [
        (one.seq, one.result, one.worker) for one in before
    ]
    report = await stage.report()
    assert report.ok, report


def _ended(stage: Scene, tokens: list[int]) -> int:
    return sum(isinstance(one, Ended) and one.token in tokens for one in stage.events())


@pytest.mark.slow
async def test_a_blocked_loop_keeps_its_lease_unless_it_holds_the_interpreter(
    stage: Scene, tmp_path: Path
) -> None:
    """Sleep, a spin, and a call that keeps the interpreter's lock, each for over two leases.

    While the first two block the handlers' loop, the engine's thread renews: nothing starts
    twice. The third stops every thread: its worker is declared dead, another runs the task, and
    the late return is not heard. Who needs more asks for a process of its own.
    """
    ways = ("sleep", "spin", "lock")
    with ExitStack() as stack:
        workers = [
            stack.enter_context(stage.worker("--concurrency", "1", "--types", "block"))
            for _ in ways
        ]
        for one in workers:
            await stage.serving(one)
        handles = {}
        for n, how in enumerate(ways, 1):
            handles[how] = await stage.submit(
                "block", how=how, seconds=5, marker=str(tmp_path / how)
            )
            await stage.started(n)
        results = {how: await one.result(30.0) for how, one in handles.items()}
        report = await stage.report()
        for one in workers:
            one.send(signal.SIGTERM)
            assert await one.ended() == 0
    assert report.ok, report
    starts = {how: stage.starts(one.id) for how, one in handles.items()}
    assert {how: len(found) for how, found in starts.items()} == {"sleep": 1, "spin": 1, "lock": 2}
    info = await handles["lock"].info()
    assert (info.state, info.losses) == (State.SUCCESS, 1)
    assert results["lock"] == f"lock on {starts['lock'][1].pid}"
