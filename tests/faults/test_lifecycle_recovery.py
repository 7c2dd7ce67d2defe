"""What a killed worker held runs elsewhere, soon; and what a living one holds does not."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import lifecycle_app
from support.lifecycle import locked, noted, times, worker
from support.processes import notes
from support.workers import until
from xqueue_core import XQueue

pytestmark = pytest.mark.anyio

#: Seconds beyond the lease within which a dead worker's tasks run elsewhere.
BEYOND = 2.0


def last_runner(log: Path) -> int:
    """The process that has started something last."""
    return int([line for line in notes(log) if line.startswith("start")][-1].split()[3])


@pytest.mark.parametrize(("lease", "kills"), [(2.0, 3), (15.0, 1)])
async def test_what_a_killed_worker_held_runs_elsewhere_within_lease_and_two_seconds(
    app: XQueue, url: str, log: Path, lease: float, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lifecycle_app.LEASE, str(lease))
    with ExitStack() as stack:
        for _ in range(kills + 1):
            stack.enter_context(worker(url, log))
        for kill in range(kills):
            handles = [await app.submit("nap", seconds=1000.0)]
            starts = 2 * kill + 1
            await noted(log, starts)
            killed = time.time()
            os.kill(last_runner(log), signal.SIGKILL)
            await noted(log, starts + 1, seconds=lease + 10.0)
            taken = times(log, "start")[-1] - killed
            print(f"lease {lease:g} s: started elsewhere {taken:.2f} s after the kill")
            assert lease / 2 < taken <= lease + BEYOND
            for handle in handles:
                info = await handle.info()
                assert [one.how for one in info.history] == ["lost", ""]
                await handle.cancel()


async def test_an_outage_of_twice_the_lease_costs_no_living_worker_its_tasks(
    app: XQueue, url: str, log: Path
) -> None:
    """Nor its permits; and it works on by itself when the broker is back."""
    with worker(url, log), worker(url, log):
        handles = [await app.submit("nap", seconds=7.0) for _ in range(6)]
        await noted(log, 6)
        begun = time.monotonic()
        with locked(url):
            await until("twice the lease is over", lambda: time.monotonic() - begun > 4.2)
        for handle in handles:
            await handle.result(15)
            info = await handle.info()
            assert (info.losses, [one.how for one in info.history]) == (0, ["success"])
        assert len(times(log, "start")) == 6
        begun = time.monotonic()
        await (await app.submit("nap", seconds=0.0)).result(10)
        assert time.monotonic() - begun < 3.0
