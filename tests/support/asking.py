"""Short names for what the tests of semaphores ask."""

from __future__ import annotations

from support.stores import FakeClock
from xqueue_core.abc import Semaphore
from xqueue_core.permits import Answer, Grant, Keep, Permit, Request

#: Seconds.
LEASE = 15.0


def wish(id: str, worker: str = "w", key: str = "k", **more: object) -> Request:
    return Request(id=id, key=key, worker=worker, **more)  # type: ignore[arg-type]


def pass_time(clock: FakeClock, seconds: float) -> None:
    clock.steady += seconds
    clock.wall += seconds


async def ask(semaphore: Semaphore, *requests: Request) -> list[Answer]:
    return list(await semaphore.acquire(requests, 0))


async def grants(semaphore: Semaphore, *requests: Request) -> list[Grant]:
    return [answer.grant for answer in await ask(semaphore, *requests)]


async def renew(
    semaphore: Semaphore,
    worker: str = "w",
    *permits: Permit,
    lease: float = LEASE,
    heartbeat: float = 0.0,
) -> list[Keep]:
    return (await semaphore.renew(worker, permits, [], lease, heartbeat)).permits


async def take(semaphore: Semaphore, id: str, worker: str = "w") -> Permit:
    [answer] = await ask(semaphore, wish(id, worker))
    assert answer.grant is Grant.GRANTED
    return Permit(id=id, key="k", token=answer.token)


async def run_busy(semaphore: Semaphore, clock: FakeClock, seconds: float, *workers: str) -> None:
    """Time passes while these workers renew twice a second."""
    for _ in range(int(seconds * 2)):
        pass_time(clock, 0.5)
        for worker in workers:
            await renew(semaphore, worker)
