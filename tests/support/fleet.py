"""Workers with recurring schedules over one memory store, on one virtual loop."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from support.apps import make_app
from support.cluster import Cut
from xqueue_core import Context, XQueue
from xqueue_core.abc import Faces
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.recurring.schedule import Recurring
from xqueue_core.stored import faces
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.records import Now
from xqueue_core.views import Schedule
from xqueue_core.worker.crossing import Crossing
from xqueue_core.worker.duties import Life
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.scheduler import Scheduler
from xqueue_core.worker.tools import Term, Tools
from xqueue_memory import MemoryRecords

#: The broker's clock is ahead of the loop's by this: it is a Wednesday, 40 s after a full hour.
EPOCH = 1_800_000_000.0 - 960.0 - 1000.0

Declare = Callable[[XQueue, Callable[..., Any]], Any]


def every(interval: float, **options: Any) -> Declare:
    """Declares a handler with one schedule."""

    def declare(app: XQueue, handler: Callable[..., Any]) -> None:
        app.every(interval, name="often", **options)(handler)

    return declare


def wanted(first: float, last: float, interval: float) -> list[float]:
    """The slots of an interval after a moment, up to another."""
    number = int(first // interval) + 1
    found = []
    while (slot := number * interval) <= last:
        found.append(slot)
        number += 1
    return found


def check(fleet: Fleet, begun: float, interval: float, *, late: float = 0.3) -> None:
    """Each slot since then was run once, in order, not early and not much later."""
    assert fleet.slots() == wanted(begun, fleet.wall() - late, interval)
    assert all(0.0 <= at - slot <= late for at, slot in fleet.runs), fleet.runs


class Fleet:
    """A store whose clock is the loop's, and whatever runs over it.

    Attributes:
        runs: each start of a handler: the broker's time, and the schedule's slot.
        takes: seconds that a handler takes.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.records, self.bell = MemoryRecords(self.clock), LocalBell()
        self.runs: list[tuple[float, float]] = []
        self.workers: list[FleetWorker] = []
        self.takes = 0.0
        self.set = 0.0  # by how much the broker's clock was set
        self.calls: Counter[str] = Counter()
        self._number = 0

    def clock(self) -> Now:
        """The store's clocks."""
        return Now(self.wall(), self._loop.time(), "epoch")

    def wall(self) -> float:
        """The broker's clock."""
        return EPOCH + self._loop.time() + self.set

    def faces(self) -> Faces:
        """The store, as one process has it."""
        return faces(self.records, self.bell)

    async def start(self, declare: Declare, ahead: float = 0.0) -> FleetWorker:
        """Start a worker; ``ahead`` is how far its own wall clock is from the broker's."""
        self._number += 1
        worker = FleetWorker(self, declare, f"w~{self._number}", ahead)
        self.workers.append(worker)
        return worker

    async def between_slots(self, interval: float) -> None:
        """Wait until half of an interval has passed since a slot, and a second more."""
        left = 1.5 * interval - self.wall() % interval
        await asyncio.sleep(left + (interval if left < 1.0 else 0.0))

    async def stop(self) -> None:
        """Stop all that have not crashed."""
        await asyncio.gather(*(one.stop() for one in self.workers if not one.queue.gone))

    def slots(self) -> list[float]:
        """The slots that were run, in order of their starts."""
        return [slot for _, slot in self.runs]

    async def schedule(self) -> Schedule:
        """The one schedule, as a reader sees it."""
        view = self.faces().view
        assert view is not None
        [one] = await view.schedules()
        return one


class Flaky(Cut):
    """A queue whose calls a test may fail, or answer and lose the answer."""

    def __init__(self, queue: Any, calls: Counter[str]) -> None:
        super().__init__(queue)
        self.away = False
        self.lose: Callable[[str], bool] = lambda method: False
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if self.away:
                raise Unavailable("away")
            answer = await method(*args, **kwargs)
            if self.lose(name):
                raise Unknown("the reply was lost")
            return answer

        return call


class FleetWorker:
    """One engine with its handlers and its scheduler."""

    def __init__(self, fleet: Fleet, declare: Declare, name: str, ahead: float) -> None:
        loop = asyncio.get_running_loop()
        app = make_app()
        declare(app, _handler(fleet))
        options = WorkerOptions(lease=4.0, heartbeat=0.8, lease_wait=1.0, grace=5.0)
        self.handlers: set[asyncio.Task[Any]] = set()
        store = fleet.faces()
        self.queue = Flaky(store.queue, fleet.calls)
        own = Faces(self.queue, store.view)  # type: ignore[arg-type]
        tools = Tools(
            clock=loop.time, wall=lambda: fleet.wall() + ahead, random=random.Random(name)
        )
        crossing = Crossing(loop.call_soon, loop.call_soon)
        term = Term(options.lease - options.margin)
        specs = dict(app.handlers)
        host = AsyncioHost(loop)
        self._executor = Executor(crossing, options, tools, term, host, worker=name, app=app)
        lanes = sorted({spec.lane for spec in specs.values()})
        self.engine = Engine(name, own, own, specs, lanes, crossing, options, tools, term)
        declared: list[Recurring] = list(app.schedules.values())
        scheduler = Scheduler(own.queue, declared, self.engine.keeper.time, tools)
        self.life = Life(self.engine, None, scheduler)
        self.task = asyncio.create_task(self.life.run())

    async def stop(self) -> None:
        """As by SIGTERM."""
        self.life.stop()
        await self.task

    async def crash(self) -> None:
        """As by SIGKILL: nothing reaches the store any more."""
        self.queue.gone = True
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def _handler(fleet: Fleet) -> Callable[..., Any]:
    async def tick(ctx: Context) -> None:
        assert ctx.slot is not None
        fleet.runs.append((fleet.wall(), ctx.slot.at))
        await asyncio.sleep(fleet.takes)

    return tick
