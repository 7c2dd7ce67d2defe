"""Many workers of one stored semaphore at the same time."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import anyio
import pytest

from support.asking import ask, grants, pass_time, renew, wish
from support.slow_records import SlowRecords
from support.stores import FakeClock
from xqueue_core.errors import Unavailable
from xqueue_core.permits import Grant, Keep, Permit
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import Records
from xqueue_core.stored.semaphore import StoredSemaphore
from xqueue_memory.records import MemoryRecords

pytestmark = pytest.mark.anyio


@dataclass
class Storm:
    """Workers come, hold, renew, pause and die; what they believe to hold is never too much.

    All of one course follows from the seed: the store is in memory, its clock stands still
    unless a worker moves it, and nobody waits for real time.
    """

    seed: int
    limit: int = 3
    most: int = 0  # held at one time, as far as the holders may believe
    lost: int = 0

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.records = MemoryRecords(self.clock)
        self.rng = random.Random(self.seed)
        self.believed: dict[str, float] = {}  # request id -> until when
        self.working = 0

    def connect(self) -> StoredSemaphore:
        """A semaphore as one process has it."""
        slow = SlowRecords(self.records, self.rng)
        return StoredSemaphore(slow, LocalBell(), StoredOptions(), self.rng, self.nap)

    async def nap(self, seconds: float) -> None:
        for _ in range(self.rng.randrange(20)):
            await asyncio.sleep(0)

    async def run(self) -> None:
        await self.connect().set_limit("k", self.limit)
        async with anyio.create_task_group() as group:
            for n in range(8):
                group.start_soon(self.work, f"w{n}")

    async def work(self, name: str) -> None:
        semaphore = self.connect()
        self.working += 1
        for n in range(25):
            request = wish(f"{name}.{n}", name, lease=1.0)
            sent = self.clock.steady
            await semaphore.renew(name, [], [], 1.0)
            [answer] = await ask(semaphore, request)
            permit = Permit(id=request.id, key="k", token=answer.token)
            if answer.grant is Grant.GRANTED:
                await self.hold(semaphore, name, permit, sent)
            else:
                pass_time(self.clock, 0.05)
            if answer.grant is not Grant.GRANTED or self.rng.random() < 0.8:
                await semaphore.release([permit])
        self.working -= 1

    async def hold(
        self, semaphore: StoredSemaphore, name: str, permit: Permit, sent: float
    ) -> None:
        for _ in range(self.rng.randrange(1, 6)):
            self.believed[permit.id] = sent + 1.0
            now = self.clock.steady
            self.most = max(self.most, sum(until > now for until in self.believed.values()))
            assert self.most <= self.limit, f"too many at once with seed {self.seed}"
            await self.let_time_pass(1.5 if self.rng.random() < 0.1 else 0.02)
            sent = self.clock.steady
            if await renew(semaphore, name, permit, lease=1.0) == [Keep.LOST]:
                self.lost += 1
                break
        self.believed.pop(permit.id, None)

    async def let_time_pass(self, seconds: float) -> None:
        """Others renew meanwhile, as long as there are any."""
        end = self.clock.steady + seconds
        while self.clock.steady < end and self.working > 1:
            pass_time(self.clock, 0.01)
            await asyncio.sleep(0)


async def test_never_above_the_limit_whatever_the_interleaving() -> None:
    storms = [Storm(seed) for seed in range(12)]
    with anyio.fail_after(50):
        for storm in storms:
            await storm.run()
    assert max(storm.most for storm in storms) == 3
    assert sum(storm.lost for storm in storms) > 10


async def test_many_processes_change_one_key_and_nothing_is_lost(
    records: Records, bell: LocalBell
) -> None:
    rng = random.Random(1)
    first = StoredSemaphore(records, bell, StoredOptions())
    await first.set_limit("k", 100)
    tokens: list[int] = []

    async def worker(name: str) -> None:
        semaphore = StoredSemaphore(SlowRecords(records, rng), bell, StoredOptions(), rng)
        for n in range(5):
            [answer] = await ask(semaphore, wish(f"{name}.{n}", name))
            tokens.append(answer.token)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for n in range(10):
                group.start_soon(worker, f"w{n}")
    assert len(set(tokens)) == 50
    [info] = await first.inspect(["k"])
    assert len(info.holders) == 50


async def test_a_cut_store_raises_and_the_next_call_works(
    records: Records, bell: LocalBell
) -> None:
    slow = SlowRecords(records)
    semaphore = StoredSemaphore(slow, bell, StoredOptions())
    await semaphore.set_limit("k", 1)
    slow.cut = True
    for call in (ask(semaphore, wish("a")), renew(semaphore)):
        with pytest.raises(Unavailable):
            await call
    slow.cut = False
    assert await grants(semaphore, wish("a")) == [Grant.GRANTED]
