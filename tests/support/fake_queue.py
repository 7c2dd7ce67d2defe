"""A scripted TaskQueue for unit tests of the engine's parts. It is no reference: see memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from xqueue_core.abc import TaskQueue
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Delivery,
    Did,
    Held,
    Hold,
    Leased,
    Line,
    Lines,
    Put,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.task import Outcome, Task


class LeaseCall(NamedTuple):
    """One call of ``lease``."""

    call: int
    wants: dict[str, int]
    limit: int
    wait: float


class FakeQueue(TaskQueue):
    """Deliveries come from ``ready``; ``fail[method]`` holds errors to raise, one per call.

    An error in ``lose`` is raised after the call has had its effect: the reply is lost.
    """

    def __init__(self) -> None:
        self.ready: deque[Delivery] = deque()
        self.work = asyncio.Event()
        self.leases: list[LeaseCall] = []
        self.settles: list[list[Settle]] = []
        self.settled: dict[tuple[str, int], Outcome] = {}
        self.beats: list[tuple[Beat, list[tuple[str, int]]]] = []
        self.waiting: list[list[str]] = []  # ids of which each heartbeat said that they wait
        self.commands: list[AnyCommand] = []
        self.lines: list[Line] = []
        self.more: str | None = None  # told as the next page of these lines
        self.fail: dict[str, deque[Exception]] = {}
        self.lose: dict[str, deque[Exception]] = {}
        self.holds: dict[str, Hold] = {}
        self.reply = BeatReply()
        self.hang: set[str] = set()  # methods that do not answer
        self.answers: dict[int, list[Delivery]] = {}

    def add(self, *deliveries: Delivery) -> None:
        """More work."""
        self.ready.extend(deliveries)
        self.work.set()

    async def put(self, tasks: Sequence[Task]) -> list[Accepted]:
        return [Accepted(Put.NEW) for _ in tasks]

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        limits = {want.lane: want.limit for want in wants}
        self.leases.append(LeaseCall(call, limits, limit, wait))
        await self._begin("lease")
        try:
            async with asyncio.timeout(wait):
                while not (found := self.answers.get(call) or self._take(limits, limit)):
                    if ready := self._ready(limits):
                        return Leased([], ready)
                    self.work.clear()
                    await self.work.wait()
        except TimeoutError:
            found = []
        self.answers = {call: found}
        self._end("lease")
        return Leased(list(found))

    async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
        self.settles.append(list(outcomes))
        await self._begin("settle")
        verdicts = []
        for one in outcomes:
            known = (one.id, one.token) in self.settled
            verdicts.append(Settled.REPEATED if known else Settled.APPLIED)
            self.settled.setdefault((one.id, one.token), one.outcome)
        self._end("settle")
        return verdicts

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        self.beats.append((beat, [(one.id, one.token) for one in held]))
        self.waiting.append([one.id for one in held if one.waits])
        await self._begin("extend")
        self._end("extend")
        holds = [self.holds.get(one.id, Hold.KEPT) for one in held]
        reply = self.reply
        return BeatReply(holds, reply.paused, reply.quiet, reply.stop, reply.now)

    async def control(self, commands: Sequence[AnyCommand]) -> list[Verdict]:
        await self._begin("control")
        self.commands.extend(commands)
        return [Verdict(Did.APPLIED) for _ in commands]

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        await self._begin("parked")
        return Lines(list(self.lines), self.more)

    def _take(self, limits: dict[str, int], limit: int) -> list[Delivery]:
        left = dict(limits)
        taken: list[Delivery] = []
        for one in list(self.ready):
            if len(taken) < limit and left.get(one.task.lane, 0) > 0:
                left[one.task.lane] -= 1
                taken.append(one)
                self.ready.remove(one)
        return taken

    def _ready(self, limits: dict[str, int]) -> list[str]:
        here = {one.task.lane for one in self.ready}
        return [lane for lane, limit in limits.items() if limit == 0 and lane in here]

    async def _begin(self, method: str) -> None:
        await asyncio.sleep(0)
        if method in self.hang:
            await asyncio.Event().wait()
        if errors := self.fail.get(method):
            raise errors.popleft()

    def _end(self, method: str) -> None:
        if errors := self.lose.get(method):
            raise errors.popleft()


def delivery(name: str = "job", lane: str = "job", token: int = 1, **fields: Any) -> Delivery:
    """A delivery of ``<lane>:<name>``; fields of Delivery and Task alike."""
    own = {key: fields.pop(key) for key in ("attempt", "losses", "accepted_at") if key in fields}
    task = Task(id=f"{lane}:{name}", lane=lane, **fields)
    return Delivery(task=task, token=token, **{"attempt": 1, **own})
