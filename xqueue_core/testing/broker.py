"""The broker of a rehearsal: the memory backend on a virtual clock, and a note of what passes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import msgspec

from xqueue_core.abc import Backend, Faces, Role, TaskQueue
from xqueue_core.atonce import at_once
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Delivery,
    Held,
    Leased,
    Lines,
    Put,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.connect import BackendCache, Connection, connect
from xqueue_core.errors import ConfigError
from xqueue_core.plugins import load_backend
from xqueue_core.task import AnyOutcome, HandBack, Parked, RetryAt, Task
from xqueue_core.testing.ran import Run

if TYPE_CHECKING:
    from xqueue_core.settings import Settings
    from xqueue_core.testing.clock import VirtualClock

#: The URL of every rehearsal. Each has a backend of its own, and so a store of its own.
URL = "memory://"


class Notes:
    """What has passed the broker. Written by any thread.

    Attributes:
        puts: what clients submitted, in order, with the id of the task each became.
        runs: attempts that ended, in order.
        delivered: what was given to the worker.
        errors: by task, what an attempt has raised that was not settled yet.
        worker: id of the rehearsal's own worker.
        budget: how many more deliveries may be made to it; None: no end.
        count: grows with whatever happens.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.puts: list[tuple[Task, str]] = []
        self.count = 0
        self.begin("", None)

    def begin(self, worker: str, budget: int | None) -> None:
        """A worker is about to start."""
        self.worker = worker
        self.runs: list[Run] = []
        self.delivered: dict[str, Delivery] = {}  # by id, the latest
        self.errors: dict[str, BaseException] = {}
        self.budget = budget

    def put(self, tasks: Sequence[Task], answers: Sequence[Accepted]) -> None:
        """A client has submitted."""
        with self._lock:
            for task, answer in zip(tasks, answers, strict=True):
                if answer.put in (Put.NEW, Put.DUPLICATE):
                    self.puts.append((task, answer.of or task.id))
            self.count += len(tasks)

    def leased(self, leased: Leased) -> None:
        """The rehearsal's worker was given deliveries."""
        self.delivered |= {one.task.id: one for one in leased.deliveries}
        self.count += len(leased.deliveries)
        if self.budget is not None:
            self.budget -= len(leased.deliveries)

    def raised(self, id: str, error: BaseException) -> None:
        """An attempt has raised; from any thread."""
        self.errors[id] = error

    def settled(self, outcomes: Sequence[Settle], answers: Sequence[Settled]) -> None:
        """The worker has told how deliveries ended."""
        for one, answer in zip(outcomes, answers, strict=True):
            self.count += 1
            if isinstance(one.outcome, HandBack | Parked):
                if self.budget is not None:
                    self.budget += 1  # it did not run
            elif answer is Settled.APPLIED:
                delivery, error = self.delivered[one.id], self.errors.pop(one.id, None)
                how = _how(delivery, one.outcome)
                self.runs.append(Run(one.id, delivery.attempt, how, error))


class Runs:
    """The calls that run tasks: one at a time, each counted. Used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """One run. Raises ConfigError if another is under way."""
        if not self._lock.acquire(blocking=False):
            raise ConfigError("another run of this app.testing() has not ended yet: await it")
        try:
            self._count += 1
            yield
        finally:
            self._lock.release()

    def idle(self) -> int | None:
        """How many there were; None while one is under way."""
        return None if self._lock.locked() else self._count


class Broker:
    """One store in memory, and who may open it."""

    def __init__(self, settings: Settings, clock: VirtualClock) -> None:
        # The class that the entry point names: an instance of it has clocks of its own.
        kind: Callable[..., Backend] = type(load_backend("memory"))
        backend = kind(clock.now)
        self._backends = BackendCache(lambda name: backend)
        self._clock = clock
        self.settings = settings
        self.notes = Notes()
        self.runs = Runs()

    def connect(self, role: Role | None) -> AbstractAsyncContextManager[Connection]:
        """A connection whose calls are noted."""
        return self._connect(role or Role.CLIENT)

    @asynccontextmanager
    async def _connect(self, role: Role) -> AsyncIterator[Connection]:
        async with connect(self.settings, self._backends, (), role) as connection:
            queue = Noting(connection.faces.queue, self.notes, role)
            yield Connection(
                connection.faces._replace(queue=queue),
                connection.capabilities,
                self.settings,
                connection.what,
                idle=self.runs.idle,
            )

    @contextmanager
    def opened(self) -> Iterator[Faces]:
        """The faces, for looks :func:`at_once`."""
        opening = connect(self.settings, self._backends)
        try:
            yield at_once(opening.__aenter__()).faces
        finally:
            at_once(opening.__aexit__(None, None, None))


class Noting(TaskQueue):
    """Passes everything on, and notes it."""

    def __init__(self, inner: TaskQueue, notes: Notes, role: Role) -> None:
        self._inner = inner
        self._notes = notes
        self._role = role

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        """A worker's own puts are the slots of schedules, which nobody has submitted."""
        answers = await self._inner.put(tasks)
        if self._role is Role.WORKER:
            self._notes.count += len(tasks)
        else:
            self._notes.put(tasks, answers)
        return answers

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        """As many as the budget says; when it is used up, none."""
        if worker != self._notes.worker:
            return await self._inner.lease(wants, limit, call, worker, wait)
        budget = self._notes.budget
        if budget is not None:
            if budget <= 0:
                await asyncio.sleep(wait)
                return Leased()
            limit = min(limit, budget)
        leased = await self._inner.lease(wants, limit, call, worker, wait)
        self._notes.leased(leased)
        return leased

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        """Noted when it is recorded."""
        answers = await self._inner.settle(outcomes)
        self._notes.settled(outcomes, answers)
        return answers

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        """Without the time: the worker's own wall clock is the broker's, and never behind it."""
        reply = await self._inner.extend(beat, held)
        own = beat.worker == self._notes.worker
        return msgspec.structs.replace(reply, now=0.0) if own else reply

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        """Whatever it is, something may have changed."""
        self._notes.count += len(commands)
        return await self._inner.control(commands)

    async def maintain(self, budget: float) -> float:
        """Passed on."""
        return await self._inner.maintain(budget)

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        """Passed on."""
        return await self._inner.parked(lanes, after, limit)


def _how(delivery: Delivery, outcome: AnyOutcome) -> str:
    """How an attempt ended, as the broker decides: a retry needs one that is left."""
    if not isinstance(outcome, RetryAt):
        return str(outcome.__struct_config__.tag)
    if delivery.attempt <= delivery.task.max_retry:
        return "retry"
    return "timeout" if outcome.timed_out else "failed"
