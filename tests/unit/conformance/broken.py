"""Queues that are broken on purpose, each in one way, over the memory backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from xqueue_core.abc import Backend, Faces, Notice, Notifier, Semaphore, TaskQueue
from xqueue_core.calls import (
    ALL_ABILITIES,
    Ability,
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Cancel,
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
from xqueue_core.permits import Answer, Grant, Request
from xqueue_core.task import HandBack, Parked, RetryAt, Task
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


class NoFence(Forwarding):
    """Settles with whatever token is current: a late worker wins."""

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        got = await super().lease(wants, limit, call, worker, wait)
        self.current = getattr(self, "current", {}) | {d.task.id: d.token for d in got.deliveries}
        return got

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        current = getattr(self, "current", {})
        return await super().settle(
            [Settle(one.id, current.get(one.id, one.token), one.outcome) for one in outcomes]
        )


class NoDedupe(Forwarding):
    """Makes a new task of every repeated put."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self.puts = 0

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        answers = list(await super().put(tasks))
        for n, answer in enumerate(answers):
            if answer.put is Put.DUPLICATE:
                self.puts += 1
                again = msgspec.structs.replace(tasks[n], id=f"{tasks[n].id}-{self.puts}")
                answers[n] = (await super().put([again]))[0]
        return answers


class ChargesHandBack(Forwarding):
    """Charges the attempt of a delivery that never started."""

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        charged = [
            Settle(one.id, one.token, HandBack(ran=True))
            if isinstance(one.outcome, HandBack) and not one.outcome.unable
            else one
            for one in outcomes
        ]
        return await super().settle(charged)


class LosesTheLast(Forwarding):
    """Says that it has accepted the last task of a large batch, and drops it."""

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        if len(tasks) < 20:
            return await super().put(tasks)
        return [*await super().put(tasks[:-1]), Accepted(Put.NEW)]


class Early(Forwarding):
    """Forgets a retry's delay."""

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        return await super().settle(
            [
                Settle(one.id, one.token, msgspec.structs.replace(one.outcome, delay=0.0))
                if isinstance(one.outcome, RetryAt)
                else one
                for one in outcomes
            ]
        )


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


class ForgetsTheLine(Forwarding):
    """Hands back what ought to be parked."""

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        return await super().settle(
            [
                Settle(one.id, one.token, HandBack()) if isinstance(one.outcome, Parked) else one
                for one in outcomes
            ]
        )


class DropsCancel(Forwarding):
    """Says that it canceled, and does not."""

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        if any(isinstance(command, Cancel) for command in commands):
            return [Verdict(Did.APPLIED) for _ in commands]
        return await super().control(commands)


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


class Generous(Semaphore):
    """Grants one permit too many of every key."""

    def __init__(self, inner: Semaphore) -> None:
        self.inner = inner

    async def acquire(self, requests: Sequence[Request], wait: float) -> Sequence[Answer]:
        answers = await self.inner.acquire(requests, wait)
        return [
            Answer(Grant.GRANTED, 1) if one.grant is Grant.WAITING and one.place == 1 else one
            for one in answers
        ]

    async def renew(self, *args: Any) -> Any:
        return await self.inner.renew(*args)

    async def release(self, *args: Any) -> None:
        await self.inner.release(*args)

    async def set_limit(self, *args: Any, **options: Any) -> None:
        await self.inner.set_limit(*args, **options)

    async def inspect(self, *args: Any) -> Any:
        return await self.inner.inspect(*args)


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
