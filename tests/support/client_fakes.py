"""What the client's own tests run against: a scripted broker and a clock set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from xqueue_core.abc import Faces, Notice, Notifier, TaskQueue, TaskView
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Capabilities,
    Declare,
    Did,
    Held,
    Leased,
    Locate,
    Put,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.client.retrying import Retrying, Runtime
from xqueue_core.connect import Connection
from xqueue_core.settings import Settings
from xqueue_core.task import Event, EventName, State, Task
from xqueue_core.views import Filter, Stats, TaskInfo, Tasks, WorkerInfo


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def retrying(self, deadline: float = 30.0) -> Retrying:
        """Retries by this clock, always after the longest pause of the policy."""
        return Retrying(Runtime(self, lambda: 1.0, self.sleep), deadline)


class FakeQueue(TaskQueue):
    """Accepts tasks. ``faults`` are raised by the next calls of ``put``, one each."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []
        self.puts: list[list[str]] = []
        self.declared: list[tuple[str, str]] = []
        self.lanes: dict[str, str] = {}
        self.located: list[str] = []
        self.known: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.called = asyncio.Event()
        self.reject: dict[str, Exception | None] = {}

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        self.puts.append([task.id for task in tasks])
        self.called.set()
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        return [self._accepted(task.id) for task in tasks]

    def _accepted(self, id: str) -> Accepted:
        if id in self.reject:
            return Accepted(Put.REJECTED, error=self.reject[id])
        if id in self.known:
            return Accepted(Put.DUPLICATE, of=id)
        self.known.add(id)
        return Accepted(Put.NEW)

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        verdicts = []
        for command in commands:
            if isinstance(command, Locate):
                found = self.lanes.get(command.type)
                self.located.append(command.type)
                verdicts.append(Verdict(Did.APPLIED, of=found) if found else Verdict(Did.UNKNOWN))
                continue
            assert isinstance(command, Declare)
            self.declared.append((command.type, command.lane))
            lane = self.lanes.setdefault(command.type, command.lane)
            same = lane == command.lane
            verdicts.append(Verdict(Did.APPLIED) if same else Verdict(Did.CONFLICT, of=lane))
        return verdicts

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        return Leased()

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        return [Settled.LOST for _ in outcomes]

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        return BeatReply()


class FakeView(TaskView):
    """Answers with what it was told; ``faults`` as in :class:`FakeQueue`."""

    def __init__(self) -> None:
        self.infos: dict[str, TaskInfo] = {}
        self.faults: list[Exception] = []
        self.finds: list[list[str]] = []

    def tell(self, id: str, state: State, **more: Any) -> None:
        """From now on the task is so."""
        self.infos[id] = TaskInfo(id=id, lane="t", state=state, **more)

    async def find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        self.finds.append(list(ids))
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        return [self.infos.get(id) for id in ids]

    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        return Tasks([])

    async def stats(self) -> Stats:
        return Stats()

    async def workers(self) -> Sequence[WorkerInfo]:
        return []


class FakeNotifier(Notifier):
    """Passes on what the test says. An exception among the notices is raised."""

    def __init__(self) -> None:
        self.notices: asyncio.Queue[Notice | Exception] = asyncio.Queue()
        self.subscribed: list[str | None] = []

    def finished(self, id: str, cursor: str) -> None:
        """Tell that the task has ended."""
        event = Event(id, 1, EventName.FINISHED, State.SUCCESS, 0.0)
        self.notices.put_nowait(Notice(cursor, event))

    async def publish(self, events: Sequence[Event]) -> None: ...

    async def subscribe(self, filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
        self.subscribed.append(after)
        while True:
            notice = await self.notices.get()
            if isinstance(notice, Exception):
                raise notice
            yield notice


class FakeBroker:
    """The three together, and a way to connect to them."""

    def __init__(self, *, events: bool = True, **capabilities: Any) -> None:
        self.queue = FakeQueue()
        self.view = FakeView()
        self.notifier = FakeNotifier()
        self.capabilities = Capabilities(**capabilities)
        self.settings = Settings()
        self.faults: list[Exception] = []
        self.opened = 0
        self.closed = 0
        self._faces = Faces(self.queue, self.view, None, self.notifier if events else None)
        self._connection = Connection(self._faces, self.capabilities, self.settings)

    async def connection(self) -> Connection:
        """The one connection."""
        return self._connection

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """A connection of its own; ``faults`` are raised instead, one each."""
        if self.faults:
            raise self.faults.pop(0)
        self.opened += 1
        try:
            yield Connection(self._faces, self.capabilities, self.settings)
        finally:
            self.closed += 1


async def until(condition: Callable[[], bool], what: str, timeout: float = 5.0) -> None:
    """Wait until the condition holds; fails saying what was waited for."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while not condition():
        assert loop.time() < end, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.001)
