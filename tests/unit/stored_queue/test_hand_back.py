"""A heartbeat does its work although something it is to hand back cannot be written."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from support.queues import Bench, a_task
from xqueue_core.calls import Hold
from xqueue_core.errors import Refused
from xqueue_core.stored.tasks import Applied, Job, Tasks
from xqueue_core.task import State

pytestmark = pytest.mark.anyio


async def test_one_that_cannot_be_handed_back_fails_no_heartbeat(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.put(*(a_task(n) for n in range(4)))
    await bench.beat("a")
    [mine] = await bench.lease("a")
    await bench.lease("a", 3)
    apply = Tasks.apply

    async def picky(self: Tasks, jobs: Sequence[Job]) -> list[Applied]:
        if any(job.id == "type:2" for job in jobs):
            raise Refused("this row cannot be written")
        return await apply(self, jobs)

    monkeypatch.setattr(Tasks, "apply", picky)
    assert (await bench.beat("a", mine)).held == [Hold.KEPT]
    states = [(await bench.record(f"type:{n}")).state for n in range(4)]
    processing, pending = State.PROCESSING, State.PENDING
    assert states == [processing, pending, processing, pending]
    monkeypatch.undo()
    await bench.beat("a", mine)
    assert (await bench.record("type:2")).state is pending
