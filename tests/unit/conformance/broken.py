"""Queues that are broken on purpose, each in one way, over the memory backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from xqueue_core.abc import Backend, Faces, Notice, Notifier, TaskQueue
from xqueue_core.calls import (
    ALL_ABILITIES,
    Ability,
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Capabilities,
    Did,
    Held,
    Leased,
    Lines,
    Put,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.conformance import Harness
from xqueue_core.errors import Unsupported
from xqueue_core.task import HandBack, Parked, Task
from xqueue_core.views import Filter
from xqueue_memory import MemoryBackend

#: Makes broken faces of good ones.
Breaker = Callable[[Faces], Faces]


class BrokenHarness(Harness):
    """The memory backend, spoiled."""

    def __init__(
        self,
        breaker: Breaker = lambda faces: faces,
        abilities: frozenset[Ability] = ALL_ABILITIES,
    ) -> None:
        self.name = "broken"
        self._backend: Backend = MemoryBackend()
        self._breaker = breaker
        self._abilities = abilities

    @property
    def capabilities(self) -> Capabilities:
        """Those of memory, less what the test takes away."""
        return Capabilities(shared=False, durable=False, abilities=self._abilities)

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        """Open memory and spoil its faces."""
        made = self._backend.Settings(namespace=namespace, **settings)
        async with self._backend.open(made) as faces:
            yield self._breaker(faces)


class Forwarding(TaskQueue):
    """A queue that does what another one does."""

    def __init__(self, inner: TaskQueue) -> None:
        self.inner = inner

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        return await self.inner.put(tasks)

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        return await self.inner.lease(wants, limit, call, worker, wait)

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        return await self.inner.settle(outcomes)

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        return await self.inner.extend(beat, held)

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        return await self.inner.control(commands)

    async def maintain(self, budget: float) -> float:
        return await self.inner.maintain(budget)

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        return await self.inner.parked(lanes, after, limit)


class LosesTheLast(Forwarding):
    """Says that it has accepted the last task of a large batch, and drops it."""

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        if len(tasks) < 20:
            return await super().put(tasks)
        return [*await super().put(tasks[:-1]), Accepted(Put.NEW)]


class NewAnswer(Forwarding):
    """Takes more tasks when a call number is repeated, as if it were a new one."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self.calls = 0

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        self.calls += 1
        return await super().lease(wants, limit, self.calls, worker, wait)


class HandsBackById(Forwarding):
    """What a heartbeat does not name is handed back by its id alone, whoever has it now."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self._calls: dict[tuple[str, str], int] = {}
        self._tokens: dict[str, int] = {}

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        got = await super().lease(wants, limit, call, worker, wait)
        for one in got.deliveries:
            self._calls[worker, one.task.id] = call
            self._tokens[one.task.id] = one.token
        return got

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        reply = await super().extend(beat, held)
        named = {one.id for one in held}
        for (worker, id), call in self._calls.items():
            if worker == beat.worker and call <= beat.answered and id not in named:
                await super().settle([Settle(id, self._tokens[id], HandBack())])
        return reply


class ForgetsTheLine(Forwarding):
    """Hands back what ought to be parked."""

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        return await super().settle(
            [
                Settle(one.id, one.token, HandBack()) if isinstance(one.outcome, Parked) else one
                for one in outcomes
            ]
        )


class Refuser(Forwarding):
    """Knows no commands, and says so."""

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        return [Verdict(Did.UNSUPPORTED) for _ in commands]


class Bare(TaskQueue):
    """The four required methods over another queue; what needs an ability it refuses."""

    def __init__(self, inner: TaskQueue) -> None:
        self.inner = inner

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        able = [task for task in tasks if not self._beyond(task)]
        answers = iter(await self.inner.put(able))
        refused = Accepted(Put.REJECTED, error=Unsupported())
        return [refused if self._beyond(task) else next(answers) for task in tasks]

    def _beyond(self, task: Task) -> bool:
        return bool(0 < task.priority < 10 or task.delay > 0 or task.key or task.unique_key)

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        return await self.inner.lease(wants, limit, call, worker, wait)

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        return await self.inner.settle(outcomes)

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        return await self.inner.extend(beat, held)

    async def maintain(self, budget: float) -> float:
        return await self.inner.maintain(budget)


class Forgetful(Notifier):
    """Loses every third event."""

    def __init__(self, inner: Notifier) -> None:
        self.inner = inner

    async def publish(self, *args: Any) -> None:
        await self.inner.publish(*args)

    async def subscribe(self, filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
        n = 0
        async for notice in self.inner.subscribe(filter, after):
            n += 1
            if n % 3:
                yield notice
