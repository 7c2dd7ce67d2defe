"""Many at once: a producer killed while it storms, and a client that awaits 10,000 results."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from support import storm_child
from support.history.events import Submitted
from support.history.scene import Scene
from support.history.writer import now
from xqueue_core import ResultExpired

pytestmark = pytest.mark.anyio

#: Results awaited at once, and the memory that may cost the client (bytes).
WAITS = 10_000
MEMORY = 150 << 20


def answers(stage: Scene) -> dict[str, str]:
    """The latest that the producer noted of each id."""
    return {one.id: one.answer for one in stage.events() if isinstance(one, Submitted)}


async def test_a_producer_killed_in_a_storm_of_submits(stage: Scene) -> None:
    """What it had no answer to was accepted once or not at all, and may be submitted again."""
    with stage.worker("--concurrency", "20"):
        producer = stage.helper(storm_child.__file__, stage.url, str(stage.path))
        try:
            await stage.until("it storms", lambda: len(answers(stage)) > 400)
        finally:
            producer.kill()
            producer.wait()
        known = answers(stage)
        stage.ids += known
        sure = [id for id, answer in known.items() if answer == "ok"]
        open_ = [id for id, answer in known.items() if answer == "unknown"]
        assert len(sure) > 0
        assert len(open_) in (0, storm_child.BATCH)
        for id in sure:
            await stage.app.handle(id).result(20.0)
        present = Counter([await _known(stage, id) for id in open_])
        assert present[True] in (0, len(open_)), "a call is accepted whole or not"
        nap = stage.handlers["nap"]
        asked = now()
        again = await stage.app.submit_many(
            nap.options(id=id.partition(":")[2]).call(0.0) for id in open_
        )
        stage.accepted(asked, *again)
        assert sum(one.duplicate for one in again) == present[True]
        report = await stage.report()
    assert report.ok, report
    assert len(stage.starts()) == len(known), "each ran once"


async def _known(stage: Scene, id: str) -> bool:
    try:
        await stage.app.handle(id).info()
    except ResultExpired:
        return False
    return True


@pytest.mark.slow
async def test_ten_thousand_results_awaited_at_once(stage: Scene) -> None:
    nap = stage.handlers["nap"]
    handles = await stage.submit_many([nap.call(0.0) for _ in range(WAITS)])
    before = _resident()
    waits = [asyncio.create_task(one.result(50.0)) for one in handles]
    await asyncio.sleep(0)
    with stage.worker("--processes", "2") as workers:
        results = await asyncio.gather(*waits)
        grown = _resident() - before
        report = await stage.report()
        workers.send()
        assert await workers.ended() == 0
    assert len(results) == WAITS
    assert {one.pid for one in stage.starts()} == set(results)
    assert report.ok, report
    assert len(stage.starts()) == WAITS
    assert grown < MEMORY, f"{grown >> 20} MiB"


def _resident() -> int:
    """Bytes of this process in memory."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024
