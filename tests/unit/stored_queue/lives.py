"""Workers that live, and others that die, over one store."""

from __future__ import annotations

from support.queues import HEARTBEAT, LEASE, Bench


async def pass_by(bench: Bench, seconds: float, *alive: str) -> None:
    """Time in which these workers beat; the queue is maintained."""
    for _ in range(int(seconds / HEARTBEAT)):
        bench.later(HEARTBEAT)
        for worker in alive:
            await bench.beat(worker, answered=0)
        await bench.queue.maintain(1.0)


async def is_alive(bench: Bench, worker: str) -> bool:
    [row] = await bench.store.load([f"worker/{worker}"])
    return row is not None


async def outlive(bench: Bench, dead: str, alive: str, *, held: int) -> None:
    """One worker has leased so many tasks, and is overdue by now; the other lives."""
    await pass_by(bench, LEASE + 2, dead, alive)
    assert len(await bench.lease(dead, held)) == held
    await pass_by(bench, LEASE - 1, alive)
    bench.later(2.0)
    await bench.beat(alive)
