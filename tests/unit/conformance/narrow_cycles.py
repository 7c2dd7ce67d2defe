"""Narrow defects of what opens and closes, over the memory backend."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from unit.conformance.broken import BrokenHarness, Forwarding
from xqueue_core.abc import Faces, TaskQueue
from xqueue_core.calls import Accepted, Beat, Leased, Purge, Put, Settle, Settled, Want
from xqueue_core.errors import Refused, Unavailable
from xqueue_core.task import HandBack, Success, Task


class AcceptsWhenClosed(BrokenHarness):
    """A put in an opening that has ended is answered NEW, and kept nowhere."""

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        async with super().open(namespace, settings) as faces:
            late = _Late(faces.queue)
            yield faces._replace(queue=late)
        late.closed = True


class _Late(Forwarding):
    closed = False

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        if self.closed:
            return [Accepted(Put.NEW) for _ in tasks]
        return await super().put(tasks)


class OneForAll(BrokenHarness):
    """What is behind the last hyphen of a namespace's name makes no difference, if it is a b."""

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        async with super().open(namespace.removesuffix("-b"), settings) as faces:
            yield faces


class WaitsForWhoWaits(BrokenHarness):
    """An opening does not end soon while somebody waits for work in it."""

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        async with super().open(namespace, settings) as faces:
            waiting = _Waiting(faces.queue)
            yield faces._replace(queue=waiting)
            if waiting.calls:
                await asyncio.sleep(6.0)


class _Waiting(Forwarding):
    calls = 0

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        self.calls += 1
        try:
            return await super().lease(wants, limit, call, worker, wait)
        finally:
            self.calls -= 1


class DropsWhatIsUnderWay(BrokenHarness):
    """A put that is under way when its opening ends is answered NEW, and kept nowhere."""

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        async with super().open(namespace, settings) as faces:
            slow = _Slow(faces.queue)
            yield faces._replace(queue=slow)
        slow.closed = True


class _Slow(Forwarding):
    closed = False

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        late = self.closed
        await asyncio.sleep(0.005)
        if self.closed and not late:
            return [Accepted(Put.NEW) for _ in tasks]
        return await super().put(tasks)


class Leaves(BrokenHarness):
    """Each opening leaves something behind: what ``leave`` leaves until its answer is called."""

    def __init__(self, leave: Callable[[], Callable[[], object]]) -> None:
        super().__init__()
        self._leave = leave
        self._left: list[Callable[[], object]] = []

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        async with super().open(namespace, settings) as faces:
            self._left.append(self._leave())
            yield faces

    def tidy(self) -> None:
        """Take away what is left."""
        for away in self._left:
            away()


def a_thread() -> Callable[[], object]:
    """A thread that waits for an event."""
    event = threading.Event()
    thread = threading.Thread(target=event.wait, daemon=True)
    thread.start()

    def away() -> None:
        event.set()
        thread.join()

    return away


def a_task() -> Callable[[], object]:
    """A task of the event loop that waits for ever; it ends with the loop."""
    task = asyncio.ensure_future(asyncio.sleep(3600))
    return lambda: task


def a_file() -> Callable[[], object]:
    """A file that stays open."""
    number = os.open(os.devnull, os.O_RDONLY)
    return lambda: os.close(number)


class EndsTheOthers(BrokenHarness):
    """When an opening ends, puts in every other one are refused from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: set[str] = set()

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        async with super().open(namespace, settings) as faces:
            yield faces._replace(queue=_Down(faces.queue, lambda: namespace in self.ended))
        self.ended.add(namespace)


class _Down(Forwarding):
    def __init__(
        self, inner: TaskQueue, down: Callable[[], bool], error: type[Exception] = Unavailable
    ) -> None:
        super().__init__(inner)
        self._down = down
        self._error = error

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        if self._down():
            raise self._error("the broker is down")
        return await super().put(tasks)

    async def describe(self) -> Mapping[str, Any]:
        return await self.inner.describe()


class _Away(_Down):
    async def maintain(self, budget: float) -> float:
        if self._down():
            raise self._error("the broker is down")
        return await super().maintain(budget)


class Restarts(BrokenHarness):
    """No defect: a broker that can be restarted, and calls fail with this error meanwhile."""

    def __init__(self, error: type[Exception] = Unavailable) -> None:
        super().__init__(lambda faces: faces._replace(queue=self._down(faces.queue)))
        self.down = False
        self._error = error

    def _down(self, inner: TaskQueue) -> TaskQueue:
        return _Away(inner, lambda: self.down, self._error)

    async def restart(self) -> None:
        """Down for a moment."""
        self.down = True
        await asyncio.sleep(0.1)
        self.down = False


class LosesTheYoungest(BrokenHarness):
    """What was put in the last call before an opening ends is canceled in silence."""

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        async with super().open(namespace, settings) as faces:
            last = _Last(faces.queue)
            yield faces._replace(queue=last)
            await faces.queue.control([Purge(id) for id in last.ids if len(last.ids) > 10])


class _Last(Forwarding):
    ids: Collection[str] = ()

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        self.ids = [task.id for task in tasks]
        return await super().put(tasks)


class NeedsLanes(Forwarding):
    """A lane in which nothing was put is refused."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self._known: set[str] = set()

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        self._known |= {task.lane for task in tasks}
        return await super().put(tasks)

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        if not self._known.issuperset(want.lane for want in wants):
            raise Refused("there is no such lane")
        return await super().lease(wants, limit, call, worker, wait)


class EndsTheUnstarted(Forwarding):
    """What is handed back before it was started is done with."""

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        return await super().settle(
            [Settle(one.id, one.token, Success()) if _unstarted(one) else one for one in outcomes]
        )


def _unstarted(one: Settle) -> bool:
    return isinstance(one.outcome, HandBack) and not (one.outcome.ran or one.outcome.unable)


class RegistersWhoPuts(Forwarding):
    """Who puts is registered as a worker."""

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        await self.inner.extend(Beat(worker="producer~1"), [])
        return await super().put(tasks)


class TellsObjects(Forwarding):
    """What it tells of itself is no JSON."""

    async def describe(self) -> Mapping[str, Any]:
        return {"queue": self.inner}
