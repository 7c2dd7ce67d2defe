"""Random commands on tasks that meet, in the same lanes, levels and lines; and where all lie then.

The sequences of ``support.sequences`` compare each task with the state machine, but have one in
each lane. Here many are in few, and it is only asked whether each lies where its row says, once,
and whether they are counted so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import TypeVar

from support.redis_clock import ClockedLink
from xqueue_core.calls import (
    Beat,
    Cancel,
    Capabilities,
    Held,
    Hold,
    Pause,
    Purge,
    Replay,
    Reschedule,
    Resume,
    Settle,
    Unpark,
    Want,
)
from xqueue_core.errors import LeaseLost
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import (
    AnyOutcome,
    Canceled,
    Failed,
    Failure,
    HandBack,
    Parked,
    RetryAt,
    Success,
    Task,
)
from xqueue_redis.queue import RedisQueue

T = TypeVar("T")

BEGAN = 1_800_000_000.0
LANES, WORKERS, LEASE = "ab", 3, 15.0
#: Commands name one of so many of the latest tasks.
LATEST = 30
#: Two of these are more than one call takes.
LARGE = b"x" * 600_000

_WHY = Failure("exception", "E", "no")
_OUTCOMES: Sequence[AnyOutcome] = (
    *(Success(b"1"), Success(b"1"), Failed(_WHY), RetryAt(0.0, _WHY), RetryAt(2.0, _WHY)),
    *(HandBack(reason="grace"), HandBack(ran=True, reason="grace"), HandBack(unable="type")),
    *(Canceled("handler"), Parked()),
)
#: What is done, and how often.
_WEIGHTS = {
    "put": 4,
    "lease": 6,
    "lose": 2,
    "settle": 6,
    "beat": 2,
    "maintain": 2,
    "tick": 4,
    "unpark": 2,
    "cancel": 2,
    "reschedule": 2,
    "replay": 2,
    "purge": 2,
    "pause": 1,
    "resume": 2,
    "die": 1,
    "leave": 1,
    "back": 1,
}


class Crowd:
    """Tasks and workers in a namespace of their own, and what they do.

    Attributes:
        now: the time that the scripts are told.
        log: what was done.
    """

    def __init__(self, seed: int) -> None:
        self.now = BEGAN
        self.log: list[str] = []
        self._random = Random(seed)
        self._ids: list[str] = []
        self._workers: list[str] = []
        self._made = 0
        self._beats: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._held: dict[str, dict[str, int]] = {}
        self._queue: RedisQueue

    async def begin(self, link: ClockedLink) -> None:
        """The first workers."""
        self._queue = RedisQueue(link, StoredOptions(), Capabilities(max_payload=2**20))
        for _ in range(WORKERS):
            await self._new()

    async def step(self) -> None:
        """Do something."""
        [what] = self._random.choices([*_WEIGHTS], [*_WEIGHTS.values()])
        self.log.append(what)
        await getattr(self, f"_{what}")(self._random.choice(self._workers))

    # -- workers -------------------------------------------------------------------------------

    async def _new(self) -> None:
        worker = f"w{self._made}"
        self._made += 1
        self._workers.append(worker)
        self._held[worker] = {}
        await self._beats_once(worker)

    async def _beats_once(self, worker: str, *, leaving: bool = False) -> None:
        self._beats[worker] += 1
        held = [Held(id, token) for id, token in self._held[worker].items()]
        beat = Beat(
            worker=worker,
            lease=LEASE,
            heartbeat=1.0,
            number=self._beats[worker],
            answered=self._calls[worker],
            leaving=leaving,
            lanes=list(LANES),
        )
        reply = await self._queue.extend(beat, [] if leaving else held)
        for one, hold in zip(held, reply.held, strict=False):
            if hold is Hold.LOST:
                del self._held[worker][one.id]

    async def _beat(self, _: str) -> None:
        for worker in self._workers:
            await self._beats_once(worker)

    async def _lease(self, worker: str, *, answered: bool = True) -> None:
        self._calls[worker] += 1
        wants = [Want("a", self._one_of(0, 1, 4)), Want("b", self._one_of(1, 4))]
        call = self._calls[worker]
        try:
            leased = await self._queue.lease(wants, self._one_of(1, 3, 6), call, worker, 0.0)
        except LeaseLost:
            self._held[worker] = {}
            await self._beats_once(worker)
            return
        if answered:
            self._held[worker] |= {one.task.id: one.token for one in leased.deliveries}

    async def _lose(self, worker: str) -> None:
        """Its next heartbeat does not name what it has leased."""
        await self._lease(worker, answered=False)

    async def _settle(self, worker: str) -> None:
        held = self._held[worker]
        ends = [
            Settle(id, held.pop(id), self._random.choice(_OUTCOMES))
            for id in list(held)[: self._one_of(1, 2, 5)]
        ]
        for _ in range(self._one_of(1, 1, 1, 2)):
            await self._queue.settle(ends)

    async def _die(self, worker: str) -> None:
        self._workers.remove(worker)
        await self._new()
        for _ in range(int(LEASE) + 3):
            self.now += 1.0
            await self._beat("")
        await self._queue.maintain(0.0)

    async def _leave(self, worker: str) -> None:
        await self._beats_once(worker, leaving=True)
        self._workers.remove(worker)
        await self._new()

    # -- clients, operators, time --------------------------------------------------------------

    async def _put(self, _: str) -> None:
        tasks = [self._task() for _ in range(self._one_of(1, 1, 3, 8))]
        await self._queue.put(tasks)
        self._ids += [task.id for task in tasks]

    def _task(self) -> Task:
        self._made += 1
        return Task(
            id=f"t:{self._made}",
            lane=self._one_of(*LANES),
            payload=self._one_of(b"", b"", b"", LARGE),
            priority=self._one_of(0, 0, 0, 5, 9),
            key=self._one_of(None, None, "x", "y"),
            delay=self._one_of(0.0, 0.0, 0.0, 0.5, 3.0),
            queue_timeout=self._one_of(None, None, 2.0),
            max_retry=self._one_of(0, 3),
            result_ttl=self._one_of(0.0, 5.0, 100.0),
            unique_key=self._one_of(None, None, "u1", "u2"),
        )

    async def _cancel(self, _: str) -> None:
        await self._queue.control([Cancel(self._latest(), "enough") for _ in range(2)])

    async def _reschedule(self, _: str) -> None:
        delay = self._one_of(0.0, 1.0)
        await self._queue.control([Reschedule(self._latest(), delay=delay) for _ in range(2)])

    async def _replay(self, _: str) -> None:
        self._made += 1
        request, delay = f"r{self._made}", self._one_of(0.0, 1.0)
        await self._queue.control(
            [Replay(self._latest(), request=request, delay=delay) for _ in range(3)]
        )

    async def _purge(self, _: str) -> None:
        await self._queue.control([Purge(self._latest())])

    async def _unpark(self, _: str) -> None:
        lane, key = self._one_of(*LANES), self._one_of("x", "y", "")
        await self._queue.control([Unpark(lane, key, self._one_of(1, 2, 5))])

    async def _pause(self, _: str) -> None:
        await self._queue.control([Pause(self._one_of(*LANES))])

    async def _resume(self, _: str) -> None:
        await self._queue.control([Resume(lane) for lane in LANES])

    async def _maintain(self, _: str) -> None:
        await self._queue.maintain(0.0)

    async def _tick(self, _: str) -> None:
        self.now += self._one_of(0.0001, 0.3, 1.0, 2.5)

    async def _back(self, _: str) -> None:
        """The server's clock is set back."""
        self.now -= self._one_of(0.001, 1.0, 5.0)

    def _latest(self) -> str:
        return self._random.choice(self._ids[-LATEST:] or ["t:none"])

    def _one_of(self, *choices: T) -> T:
        return self._random.choice(choices)
