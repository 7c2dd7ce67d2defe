"""A worker is killed while a task that may have killed two others waits in it to run alone."""

from __future__ import annotations

import anyio
import pytest

from support.faulty_app import HEARTBEAT, LEASE
from support.history.scene import Scene
from xqueue_core import State
from xqueue_core.abc import TaskQueue
from xqueue_core.calls import Beat, Delivery, Held, Settle, Want
from xqueue_core.handle import Handle
from xqueue_core.stored import layout
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.records import Scan
from xqueue_core.task import HandBack

pytestmark = pytest.mark.anyio


class Ghosts:
    """Workers without a process: one that lives and maintains the queue, and ones that die."""

    def __init__(self, queue: TaskQueue) -> None:
        self.queue = queue
        self.held: list[Held] = []  # by the one that lives

    async def live(self) -> None:
        """Beat and maintain until cancelled."""
        while True:
            await self.beat("lives~0", self.held)
            await self.queue.maintain(0.1)
            await anyio.sleep(HEARTBEAT / 2)

    async def beat(self, worker: str, held: list[Held]) -> None:
        beat = Beat(worker=worker, lease=LEASE, heartbeat=HEARTBEAT, answered=1)
        await self.queue.extend(beat, held)

    async def take(self, worker: str) -> Delivery:
        """One delivery of the lane."""
        await self.beat(worker, [])
        [got] = (await self.queue.lease([Want("nap", 1)], 1, 1, worker, 0.0)).deliveries
        return got

    async def waiting(self) -> set[str]:
        """The tasks of which the last heartbeat of some worker said that they wait."""
        stored = getattr(self.queue, "_inner", self.queue)
        assert isinstance(stored, StoredQueue)
        [rows] = await stored._records.scan([Scan(layout.WORKERS, 10)])
        workers = [layout.unpack(row, layout.WorkerRow) for row in rows]
        return {id for worker in workers if worker for id, _ in worker.waiting}


async def _losses(handle: Handle[object]) -> int:
    return (await handle.info()).losses


async def test_a_suspect_that_only_waits_is_not_charged(stage: Scene) -> None:
    suspect = await stage.submit("nap", seconds=0.0)
    async with stage.app.connect() as client, anyio.create_task_group() as group:
        ghosts = Ghosts(client.faces.queue)
        group.start_soon(ghosts.live)
        for losses in (1, 2):
            await ghosts.take(f"dies~{losses}")

            async def charged(least: int = losses) -> bool:
                return await _losses(suspect) == least

            await stage.until("the death is a loss", charged)
        got = await ghosts.take("lives~0")  # out of the way, until the other task runs
        ghosts.held.append(Held(got.task.id, got.token))
        with stage.worker("--concurrency", "4") as victim:
            await stage.serving(victim)
            await stage.submit("nap", seconds=60.0)
            await stage.started(1)
            ghosts.held.clear()
            await client.faces.queue.settle([Settle(got.task.id, got.token, HandBack())])

            async def said() -> bool:
                return suspect.id in await ghosts.waiting()

            await stage.until("a heartbeat says that the suspect waits", said)
            stage.kill(victim)

        async def given_back() -> bool:
            return (await suspect.info()).state is not State.PROCESSING

        await stage.until("the worker is given up", given_back)
        info = await suspect.info()
        assert (info.state, info.losses, info.attempt) == (State.PENDING, 2, 0)
        assert [one.how for one in info.history] == ["lost", "lost", "handback", "handback"]
        assert stage.starts(suspect.id) == []
        group.cancel_scope.cancel()
    with stage.worker():
        assert await suspect.result(20.0) is not None
    assert len(stage.starts(suspect.id)) == 1
