"""Ten backends with one narrow defect each, over the memory backend (the list of the design).

A defect is as narrow as it can be and still deserve its name, so that the kit has to find it by
the case that is about it, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from unit.conformance.broken import Breaker, BrokenHarness, Forwarding
from xqueue_core.abc import Faces, Semaphore, TaskQueue, TaskView
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Cancel,
    Did,
    Leased,
    Put,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.permits import Answer, Grant, Request
from xqueue_core.task import HandBack, State, Success, Task
from xqueue_core.views import Filter, Stats, TaskInfo, Tasks, WorkerInfo


class NoFence(Forwarding):
    """The settle of a delivery that was lost ends the task, whoever has it now."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self._current: dict[str, int] = {}

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        got = await super().lease(wants, limit, call, worker, wait)
        self._current |= {one.task.id: one.token for one in got.deliveries}
        return got

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        verdicts = list(await super().settle(outcomes))
        for n, (one, verdict) in enumerate(zip(outcomes, verdicts, strict=True)):
            token = self._current.get(one.id, one.token)
            if verdict is Settled.LOST and 0 < one.token < token:
                [verdicts[n]] = await super().settle([Settle(one.id, token, one.outcome)])
        return verdicts


class ForgetsDelayed(Forwarding):
    """Of very many tasks with a delay in one call the last is answered NEW and kept nowhere."""

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        if len(tasks) < 200 or not tasks[-1].delay:
            return await super().put(tasks)
        return [*await super().put(tasks[:-1]), Accepted(Put.NEW)]


class GrantsTwice(Semaphore):
    """While many workers crowd around a key whose permits are all held, one more is granted."""

    def __init__(self, inner: Semaphore) -> None:
        self.inner = inner

    async def acquire(self, requests: Sequence[Request], wait: float) -> Sequence[Answer]:
        if await self._crowded(requests[0].key):
            return [Answer(Grant.GRANTED, 1) for _ in requests]
        return await self.inner.acquire(requests, wait)

    async def _crowded(self, key: str) -> bool:
        [info] = await self.inner.inspect([key])
        workers = {*info.holders.values(), *(one.partition("/")[0] for one in info.waiters)}
        return len(workers) > 4 and len(info.holders) >= (info.limit or 0)

    async def renew(self, *args: Any) -> Any:
        return await self.inner.renew(*args)

    async def release(self, *args: Any) -> None:
        await self.inner.release(*args)

    async def set_limit(self, *args: Any, **options: Any) -> None:
        await self.inner.set_limit(*args, **options)

    async def inspect(self, *args: Any) -> Any:
        return await self.inner.inspect(*args)


class IgnoresDedupe(Forwarding):
    """An id whose task has ended in success makes a new task."""

    def __init__(self, inner: TaskQueue, view: TaskView) -> None:
        super().__init__(inner)
        self._view = view
        self._again = 0

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        answers = list(await super().put(tasks))
        for n, answer in enumerate(answers):
            [info] = await self._view.find([tasks[n].id])
            if answer.put is Put.DUPLICATE and info and info.state is State.SUCCESS:
                self._again += 1
                again = msgspec.structs.replace(tasks[n], id=f"{tasks[n].id}-{self._again}")
                [answers[n]] = await super().put([again])
        return answers


class LosesHandBack(Forwarding):
    """The second time that a task is handed back by a worker that cannot run it, this is answered
    and not done."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self._unable: set[str] = set()

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        back = {one.id for one in outcomes if getattr(one.outcome, "unable", "")}
        lost = back & self._unable
        self._unable |= back
        verdicts = iter(await super().settle([one for one in outcomes if one.id not in lost]))
        return [Settled.APPLIED if one.id in lost else next(verdicts) for one in outcomes]


class ChargesHandBack(Forwarding):
    """The second time that a task is handed back unstarted its attempt is charged."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self._back: set[str] = set()

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        again = {one.id for one in outcomes if _handed_back(one) and one.id in self._back}
        self._back |= {one.id for one in outcomes if _handed_back(one)}
        charge = HandBack(ran=True)
        return await super().settle(
            [
                Settle(one.id, one.token, charge if one.id in again else one.outcome)
                for one in outcomes
            ]
        )


class StartsEarly(Forwarding):
    """Delays of most of a second end a third of one too early."""

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        early = [
            msgspec.structs.replace(task, delay=task.delay - 0.35)
            if 0.6 < task.delay < 0.9
            else task
            for task in tasks
        ]
        return await super().put(early)


class DropsCancel(Forwarding):
    """The cancel of a parked task, if it gives a reason, is answered and not carried out."""

    def __init__(self, inner: TaskQueue, view: TaskView) -> None:
        super().__init__(inner)
        self._view = view

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        infos = await self._view.find([getattr(one, "id", "job:nobody") for one in commands])
        dropped = [
            isinstance(one, Cancel) and bool(one.reason and info and info.waiting_for)
            for one, info in zip(commands, infos, strict=True)
        ]
        kept = [one for one, gone in zip(commands, dropped, strict=True) if not gone]
        verdicts = iter(await super().control(kept))
        return [Verdict(Did.APPLIED) if gone else next(verdicts) for gone in dropped]


class Miscounts(TaskView):
    """Its ledger shows one duplicate less than there were."""

    def __init__(self, inner: TaskView) -> None:
        self.inner = inner

    async def find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return await self.inner.find(ids)

    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        return await self.inner.list(filter, after, limit)

    async def stats(self) -> Stats:
        stats = await self.inner.stats()
        for lane in stats.lanes.values():
            for row in lane.types.values():
                row.duplicates -= row.duplicates > 2
        return stats

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self.inner.workers()

    async def schedules(self) -> Any:
        return await self.inner.schedules()


class LacksResults(Forwarding):
    """It claims to keep results, and keeps nothing that is not JSON."""

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        poor = [
            Settle(one.id, one.token, Success())
            if isinstance(one.outcome, Success) and one.outcome.content_type != "application/json"
            else one
            for one in outcomes
        ]
        return await super().settle(poor)


def _handed_back(one: Settle) -> bool:
    return isinstance(one.outcome, HandBack) and not one.outcome.unable


def queue(made: Callable[[TaskQueue], TaskQueue]) -> Breaker:
    """Spoils the queue."""
    return lambda faces: faces._replace(queue=made(faces.queue))


def seeing(made: Callable[[TaskQueue, TaskView], TaskQueue]) -> Breaker:
    """Spoils the queue, with a view to what is in it."""

    def spoil(faces: Faces) -> Faces:
        assert faces.view is not None
        return faces._replace(queue=made(faces.queue, faces.view))

    return spoil


def semaphore(made: Callable[[Semaphore], Semaphore]) -> Breaker:
    """Spoils the semaphore."""

    def spoil(faces: Faces) -> Faces:
        assert faces.semaphore is not None
        return faces._replace(semaphore=made(faces.semaphore))

    return spoil


def view(made: Callable[[TaskView], TaskView]) -> Breaker:
    """Spoils the view."""

    def spoil(faces: Faces) -> Faces:
        assert faces.view is not None
        return faces._replace(view=made(faces.view))

    return spoil


#: What is broken, and how.
TEN: Mapping[str, Breaker] = {
    "no fence": queue(NoFence),
    "forgets a delayed task": queue(ForgetsDelayed),
    "grants twice": semaphore(GrantsTwice),
    "ignores dedupe": seeing(IgnoresDedupe),
    "loses a hand-back": queue(LosesHandBack),
    "charges a hand-back": queue(ChargesHandBack),
    "starts early": queue(StartsEarly),
    "drops a cancel": seeing(DropsCancel),
    "miscounts": view(Miscounts),
    "claims what it lacks": queue(LacksResults),
}


def harness(name: str) -> BrokenHarness:
    """The broken backend of this name."""
    return BrokenHarness(TEN[name])
