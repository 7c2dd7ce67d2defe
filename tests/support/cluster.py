"""Workers over a memory store on one virtual loop: limits that change, workers that crash."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from support.apps import make_app
from xqueue_core.abc import Faces, Semaphore
from xqueue_core.permits import KeyInfo
from xqueue_core.stored import faces
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import Now
from xqueue_core.stored.semaphore import StoredSemaphore
from xqueue_core.task import Task
from xqueue_core.worker.crossing import Crossing
from xqueue_core.worker.duties import Life
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Term, Tools
from xqueue_memory import MemoryRecords

TIMES: dict[str, Any] = {"lease": 4.0, "heartbeat": 0.8, "lease_wait": 1.0, "grace": 5.0}


class Gauge:
    """What runs: by lane and by key, at every moment."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.spent: defaultdict[str, Counter[int]] = defaultdict(Counter)  # name -> n -> seconds
        self._since: dict[str, float] = {}
        self.started: Callable[[str, int], None] = lambda name, running: None

    async def run(self, names: Sequence[str], seconds: float) -> None:
        """Count one, under these names, that takes so long."""
        for name in names:
            self._step(name, 1)
            self.started(name, self.now[name])
        try:
            await asyncio.sleep(seconds)
            self.ended.update(names)
        finally:
            for name in names:
                self._step(name, -1)

    def restart(self) -> None:
        """Forget for how long how many ran."""
        self.spent.clear()
        self._since = dict.fromkeys(self._since, asyncio.get_running_loop().time())

    def share(self, name: str, running: int) -> float:
        """The part of the time in which exactly so many ran, since the last restart."""
        self._step(name, 0)
        spent = self.spent[name]
        return spent[running] / sum(spent.values())

    def _step(self, name: str, by: int) -> None:
        at = asyncio.get_running_loop().time()
        self.spent[name][self.now[name]] += at - self._since.get(name, at)  # type: ignore[assignment]
        self._since[name] = at
        self.now[name] += by


class Cut:
    """Passes calls on until the worker has crashed; then nothing is ever answered."""

    def __init__(self, face: Any) -> None:
        self._face = face
        self.gone = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._face, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.gone:
                await asyncio.Event().wait()
            return await method(*args, **kwargs)

        return call


class Worker:
    """One engine with its handlers."""

    def __init__(self, cluster: Cluster, name: str, options: WorkerOptions) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.handlers: set[asyncio.Task[Any]] = set()
        store = cluster.faces()
        self._cuts = [Cut(store.queue), Cut(store.semaphore)]
        own = Faces(self._cuts[0], store.view, self._cuts[1], store.notifier)  # type: ignore[arg-type]
        tools = Tools(clock=loop.time, wall=loop.time, random=random.Random(name))
        crossing = Crossing(loop.call_soon, loop.call_soon)
        term = Term(options.lease - options.margin)
        specs = cluster.specs(self)
        host = AsyncioHost(loop)
        self._executor = Executor(crossing, options, tools, term, host, worker=name)
        lanes = sorted({spec.lane for spec in specs.values()})
        self.engine = Engine(name, own, own, specs, lanes, crossing, options, tools, term)
        self.life = Life(self.engine)
        self.task = asyncio.create_task(self.life.run())

    async def stop(self) -> None:
        """As by SIGTERM."""
        self.life.stop()
        await self.task

    async def crash(self) -> None:
        """As by SIGKILL: nothing reaches the store any more, and nothing runs on."""
        for cut in self._cuts:
            cut.gone = True
        self.task.cancel()
        for task in list(self.handlers):
            task.cancel()
        await asyncio.gather(self.task, *self.handlers, return_exceptions=True)


class Cluster:
    """A store, workers, and lanes ``a``, ``b`` (declared limits) and ``free``, ``keyed`` (none).

    Args:
        limits: what workers declare.
        takes: seconds that a handler of the lane takes.
    """

    def __init__(self, limits: dict[str, int | None], takes: Callable[[str], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self.records, self.bell = MemoryRecords(self.clock), LocalBell()
        self.limits = limits
        self.takes = takes
        self.gauge = Gauge()
        self.workers: list[Worker] = []
        self._count = 0
        self._submitted = 0
        self.semaphore: Semaphore = StoredSemaphore(
            self.records, self.bell, StoredOptions(), random.Random(0)
        )

    def clock(self) -> Now:
        """The store's clocks."""
        return Now(1e6 + self._loop.time(), self._loop.time(), "epoch")

    def faces(self) -> Faces:
        """The store, as one process has it."""
        return faces(self.records, self.bell)

    def specs(self, worker: Worker) -> Any:
        """Handlers of all lanes that know whose they are."""
        app = make_app()
        for lane, limit in self.limits.items():

            async def handler(key: str = "", *, lane: str = lane) -> None:
                own = asyncio.current_task()
                assert own is not None
                worker.handlers.add(own)
                try:
                    names = [lane, f"{lane}/{key}"] if key else [lane]
                    await self.gauge.run(names, self.takes(lane))
                finally:
                    worker.handlers.discard(own)

            app.task(name=lane, max_concurrency=limit, max_retry=1000)(_plain(handler))
        return dict(app.handlers)

    async def start(self, count: int = 1, **options: Any) -> None:
        """Start workers."""
        for _ in range(count):
            self._count += 1
            given = WorkerOptions(**{**TIMES, "concurrency": 10, "prefetch": 2, **options})
            self.workers.append(Worker(self, f"w{self._count}~{self._count}", given))

    async def stop(self) -> None:
        """Stop all."""
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    async def submit(self, lane: str, count: int, keys: int = 0, limit: int | None = None) -> None:
        """Submit so many."""
        tasks = []
        for _ in range(count):
            self._submitted += 1
            key = f"k{self._submitted % keys}" if keys else None
            body = f'{{"key":"{key}"}}'.encode() if key else b"{}"
            tasks.append(
                Task(
                    id=f"{lane}:{self._submitted}",
                    lane=lane,
                    payload=body,
                    key=key,
                    key_limit=limit,
                    max_retry=100,
                )
            )
        await self.faces().queue.put(tasks)

    async def limit(self, lane: str, limit: int | None, *, pinned: bool = True) -> KeyInfo:
        """Change a lane's limit; what the semaphore says right after."""
        await self.semaphore.set_limit(f"lane:{lane}", limit, pinned=pinned)
        [info] = await self.semaphore.inspect([f"lane:{lane}"])
        return info


async def until(what: str, condition: Callable[[], bool], seconds: float) -> None:
    """Wait, in virtual time, until the condition holds."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"within {seconds} s it did not come about: {what}") from None


def _plain(handler: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """With the signature that a task's arguments fit."""

    async def task(key: str = "") -> None:
        await handler(key)

    return task
