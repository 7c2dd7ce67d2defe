"""The semaphore in Redis beside the stored one: what one answers, the other must answer too."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from msgspec import structs
from redis.asyncio import Redis

from support.permit_link import PermitLink
from support.stores import FakeClock
from xqueue_core.permits import Answer, Grant, Permit, Request
from xqueue_core.stored import permit_rows
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.layout import unpack
from xqueue_core.stored.leases import RenewalMark
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import ANY, Change, Group, Scan
from xqueue_core.stored.semaphore import StoredSemaphore
from xqueue_memory import MemoryRecords

KEYS = ("lane:a", "key:a:one", "key:a:two")
#: Workers with their leases (seconds).
WORKERS = {"w~1": 15.0, "w~2": 15.0, "w~3": 4.0, "w~4": 2.0}
#: Seconds between two sweeps.
SWEEP_EVERY = 5.0


class Twins:
    """Both semaphores, with one clock.

    Attributes:
        told: what was done and answered, for the message of a failure.
        tokens: the permits that were granted, by request id.
    """

    def __init__(self, redis: Redis, port: int) -> None:
        self.clock = FakeClock(1_700_000_000.0, 1_700_000_000.0)
        self.redis = redis
        self.link = PermitLink(port, "twin", self.clock)
        self.records = MemoryRecords(self.clock)
        self.stored = StoredSemaphore(self.records, LocalBell(), StoredOptions())
        self.stored._sweep_at = math.inf  # by the clock of the process: here by that of the store
        self.native = self.link.semaphore
        self.told: list[str] = []
        self.tokens: dict[str, Permit] = {}
        self._swept = 0.0

    async def both(self, call: str, *args: Any, **options: Any) -> Any:
        """Call both, compare their answers, and return them."""
        expected = await getattr(self.stored, call)(*args, **options)
        found = await getattr(self.native, call)(*args, **options)
        self.told.append(f"{self.clock.wall - 1.7e9:.2f} {call} {args} {options}: {expected}")
        assert found == expected, self.history()
        return expected

    def history(self) -> str:
        """The last of what was told."""
        return "\n".join(self.told[-40:])

    async def acquire(self, *requests: Request) -> list[Answer]:
        """Ask without waiting."""
        answers: list[Answer] = await self.both("acquire", requests, 0.0)
        for request, answer in zip(requests, answers, strict=True):
            if answer.grant is Grant.GRANTED:
                self.tokens[request.id] = Permit(request.id, request.key, answer.token)
        return answers

    async def renew(
        self, worker: str, permits: Sequence[Permit], watch: Sequence[str], heartbeat: float = 0.0
    ) -> Any:
        """Renew, and sweep if that is due."""
        lease = WORKERS[worker]
        renewed = await self.both("renew", worker, permits, watch, lease, heartbeat)
        if abs(self.clock.wall - self._swept) >= SWEEP_EVERY:
            self._swept = self.clock.wall
            await self._bury()
        return renewed

    async def look(self) -> None:
        """Compare what operators see."""
        await self.both("inspect", KEYS)

    def passes(self, seconds: float) -> None:
        """Time goes by."""
        self.clock.wall += seconds
        self.clock.steady = self.clock.wall
        self.told.append(f"{seconds:g} s pass")

    def restarts(self) -> None:
        """The server's run is another one."""
        self.clock.epoch += "'"
        self.told.append("restart")

    async def spoil(self, key: str, rng: random.Random) -> None:
        """Somebody else writes into a key."""
        self.told.append(f"{key} is spoiled")
        rubbish = rng.choice([b"\xc1 no MessagePack", b"", b"\x92\x01\x02", None])
        await self.records.swap([Group([Change(f"s/{key}", ANY, b"\xc1")])])
        name = f"{self.link.prefix}s:{key}"
        await self.redis.delete(name)
        if rubbish is None:
            await self.redis.hset(name, "is", "something else")
        else:
            await self.redis.set(name, rubbish)

    async def forget_idle(self) -> None:
        """What is of no use any more goes, and is the same with both."""
        [rows] = await self.records.scan([Scan("permits-idle", 1000)])
        found = await self.redis.keys(f"{self.link.prefix}s:*")
        names = [name.decode() for name in found if isinstance(name, bytes)]
        idle = [name for name in names if await self.redis.ttl(name) > 0]
        kept = sorted(name.removeprefix(f"{self.link.prefix}s:") for name in idle)
        self.told.append(f"forget {kept}")
        assert kept == sorted(row.key.removeprefix("s/") for row in rows), self.history()
        await self.records.swap([Group([Change(row.key, row.version, None)]) for row in rows])
        if idle:
            await self.redis.delete(*idle)

    async def _bury(self) -> None:
        now = await self.records.now()
        [row] = await self.records.load([permit_rows.MARK])
        mark = unpack(row, RenewalMark)
        if mark is not None and not mark.stale(now) and mark.judges(now):
            await permit_rows._bury(self.records, now, row, mark)


class Player:
    """Plays by chance."""

    def __init__(self, twins: Twins, seed: int) -> None:
        self.twins = twins
        self.rng = random.Random(seed)
        self._ids = 0
        self._wishes: list[Request] = []

    async def step(self) -> None:
        """Do something."""
        steps = {
            self.ask: 30,
            self.renew: 25,
            self.release: 12,
            self.limit: 6,
            self.wait: 20,
            self.live: 4,
            self.restart: 0.6,
            self.spoil: 1,
            self.twins.forget_idle: 1,
            self.twins.look: 6,
        }
        [step] = self.rng.choices(list(steps), list(steps.values()))
        await step()

    async def ask(self) -> None:
        """Ask for some permits, old wishes among them."""
        wishes: list[Request] = []
        for _ in range(self.rng.choice([1, 1, 1, 2, 4])):
            if self._wishes and self.rng.random() < 0.5:
                wish = self.rng.choice(self._wishes[-12:])
            else:
                wish = self._new_wish()
            if all(wish.id != other.id for other in wishes):
                wishes.append(wish)
        await self.twins.acquire(*wishes)

    def _new_wish(self) -> Request:
        rng = self.rng
        self._ids += 1
        id = rng.choice(self._wishes).id if self._wishes and rng.random() < 0.03 else ""
        worker = rng.choice(list(WORKERS))
        wish = Request(
            id=id or f"job:{self._ids}",
            key=rng.choice(KEYS),
            worker=worker,
            lease=WORKERS[worker],
            queue=rng.random() < 0.7,
            running=rng.random() < 0.15,
            limit=rng.choice([None, None, None, 1, 2, 3]),
            stamp=float(rng.randrange(20)),
        )
        self._wishes.append(wish)
        return wish

    async def renew(self) -> None:
        """Renew as one of the workers, who may have forgotten something."""
        await self._renew(self.rng.choice(list(WORKERS)))

    async def _renew(self, worker: str, knows: float = 0.7) -> None:
        names = {wish.id: wish.worker for wish in self._wishes}
        held = [one for one in self.twins.tokens.values() if names[one.id] == worker][-8:]
        known = [
            structs.replace(one, idle=self.rng.choice([0.0, 0.0, 0.7, 1.7]))
            for one in held
            if self.rng.random() < knows
        ]
        watch = self.rng.sample(KEYS, self.rng.randrange(len(KEYS) + 1))
        beat = self.rng.choice([0.0, 0.0, WORKERS[worker] / 4])
        await self.twins.renew(worker, known, watch, beat)

    async def release(self) -> None:
        """Give back some, by their token or without, or what is not there."""
        permits = []
        for wish in self.rng.sample(self._wishes, min(len(self._wishes), self.rng.randrange(3))):
            held = self.twins.tokens.get(wish.id, Permit(wish.id, wish.key))
            permits.append(Permit(held.id, held.key, self.rng.choice([held.token, 0, 7])))
        await self.twins.both("release", permits)

    async def limit(self) -> None:
        """Set or remove a limit."""
        limit, pinned = self.rng.choice([None, 1, 1, 2, 3]), self.rng.random() < 0.5
        await self.twins.both("set_limit", self.rng.choice(KEYS), limit, pinned=pinned)

    async def wait(self) -> None:
        """Let time pass: mostly little."""
        self.twins.passes(self.rng.choice([0.1, 0.3, 0.5, 0.5, 1.1, 2.3, 5.0, 11.0, 16.0, 40.0]))

    async def live(self) -> None:
        """Some workers renew for a while, and somebody wants something; the others are dead.

        Now and then they know of next to nothing, or their renewals break off for a moment.
        """
        living = self.rng.sample(list(WORKERS), self.rng.randrange(1, 4))
        knows, wants = self.rng.choice([0.7, 0.05, 0.0]), self.rng.choice([0.3, 0.02])
        for _ in range(self.rng.choice([8, 24, 80])):
            self.twins.passes(0.5 if self.rng.random() < 0.98 else 2.5)
            for worker in living:
                await self._renew(worker, knows)
            if self.rng.random() < wants:
                await self.ask()
            if self.rng.random() < 0.3:
                await self.twins.look()

    async def restart(self) -> None:
        """The server starts anew, with its data."""
        self.twins.restarts()

    async def spoil(self) -> None:
        """Somebody else's write."""
        await self.twins.spoil(self.rng.choice(KEYS), self.rng)
