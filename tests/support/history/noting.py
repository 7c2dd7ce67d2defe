"""A backend that writes into the history what a worker tells the broker, before it is told."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from support.history.events import Born, HandedBack, Renewed
from support.history.writer import Writer, now
from xqueue_core.abc import Backend, Faces, Role, TaskQueue
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Capabilities,
    Held,
    Leased,
    Lines,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.task import HandBack, Task


def wishes(task: Task) -> dict[str, Any]:
    """What a Submitted says of the ends that this task may come to."""
    return {
        "retries": task.max_retry,
        "queue_timeout": task.queue_timeout,
        "process_timeout": task.process_timeout,
    }


class NotingBackend(Backend):
    """Passes everything on to another backend."""

    def __init__(self, inner: Backend, writer: Writer) -> None:
        self._inner = inner
        self._writer = writer

    @property
    def Settings(self) -> type[Any]:
        """The other's."""
        return self._inner.Settings

    def capabilities(self, settings: Any) -> Capabilities:
        """The other's."""
        return self._inner.capabilities(settings)

    def open(self, settings: Any, role: Role = Role.CLIENT) -> AbstractAsyncContextManager[Faces]:
        """The other's faces, with a queue that takes notes."""
        return self._open(settings, role)

    @asynccontextmanager
    async def _open(self, settings: Any, role: Role) -> AsyncIterator[Faces]:
        async with self._inner.open(settings, role) as faces:
            yield faces._replace(queue=NotingQueue(faces.queue, self._writer))


class NotingQueue(TaskQueue):
    """Notes each worker at its first heartbeat, each that is acknowledged, and hand-backs before
    they are sent."""

    def __init__(self, inner: TaskQueue, writer: Writer) -> None:
        self._inner = inner
        self._writer = writer
        self._known: set[str] = set()

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        if beat.worker not in self._known:
            self._known.add(beat.worker)
            self._writer.write(Born(at=now(), worker=beat.worker, pid=beat.pid))
        sent = now()
        reply = await self._inner.extend(beat, held)
        if beat.leaving:
            return reply  # which renews nothing
        told = Renewed(at=now(), sent=sent, taken=reply.now, worker=beat.worker, pid=beat.pid)
        self._writer.write(told)
        return reply

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        back = [
            HandedBack(at=now(), id=one.id, token=one.token, ran=one.outcome.ran, pid=os.getpid())
            for one in outcomes
            if isinstance(one.outcome, HandBack)
        ]
        if back:
            self._writer.write(*back)
        return await self._inner.settle(outcomes)

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        return await self._inner.put(tasks)

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        return await self._inner.lease(wants, limit, call, worker, wait)

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        return await self._inner.control(commands)

    async def maintain(self, budget: float) -> float:
        return await self._inner.maintain(budget)

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        return await self._inner.parked(lanes, after, limit)

    async def describe(self) -> Mapping[str, Any]:
        return await self._inner.describe()
