"""How a worker is put together: the only module that knows the engine's constructors."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from typing import Any, NamedTuple

from simulation.loop import STRAND, SeededLoop, Strand
from simulation.plan import GRACE, HEARTBEAT, LANES, LEASE
from simulation.threads import SimThreads
from support.apps import make_app
from xqueue_core import Context
from xqueue_core.abc import Faces
from xqueue_core.handlers import HandlerSpec, Kind, RetryPolicy
from xqueue_core.worker.crossing import Crossing, Schedule
from xqueue_core.worker.duties import Life
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.job import Job, Told
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Term, Tools

OPTIONS = WorkerOptions(
    concurrency=4,
    prefetch=2,
    threads=2,
    grace=GRACE,
    lease=LEASE,
    heartbeat=HEARTBEAT,
    lease_wait=1.5,
)


class Parts(NamedTuple):
    """One worker's."""

    engine: Engine
    life: Life
    executor: Executor
    crossing: Crossing


@cache
def specs() -> dict[str, HandlerSpec]:
    """A handler for each lane; what it does is up to the process that runs it."""
    app = make_app()
    retry = RetryPolicy(base=0.2, cap=0.5)

    async def body(ctx: Context) -> str:
        done: str = await STRAND.get().owner.handle(ctx)
        return done

    def plain(ctx: Context) -> str:
        done: str = STRAND.get().owner.handle_plainly(ctx)
        return done

    for lane, limit in LANES.items():
        function = plain if lane == "p" else body
        app.task(name=lane, lane=lane, retry=retry, max_concurrency=limit)(function)
    return dict(app.handlers)


class SimHost(AsyncioHost):
    """The handlers' loop of one process."""

    def __init__(self, loop: SeededLoop, strand: Strand, schedule: Schedule) -> None:
        super().__init__(loop)
        self.soon = schedule  # type: ignore[assignment]


def assemble(
    worker: str,
    faces: tuple[Faces, Faces],
    tools: Tools,
    strands: tuple[Strand, Strand],
    schedules: tuple[Schedule, Schedule],
    threads: Callable[[Callable[[Job, Any], None]], SimThreads],
) -> Parts:
    """A worker, not yet running. Pairs are of the engine and the handlers, in this order.

    ``faces`` are those of the engine and those of its heartbeat.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SeededLoop)
    crossing = Crossing(schedules[1], schedules[0])
    term = Term(OPTIONS.lease - OPTIONS.margin)
    host = SimHost(loop, strands[1], schedules[1])

    def executor() -> Executor:
        made = Executor(crossing, OPTIONS, tools, term, host, worker=worker)
        made._runners[Kind.THREAD] = threads(made._ran)
        return made

    known = specs()
    running = strands[1].context.run(executor)
    engine = strands[0].context.run(
        Engine, worker, faces[0], faces[1], known, sorted(LANES), crossing, OPTIONS, tools, term
    )
    return Parts(engine, strands[0].context.run(Life, engine), running, crossing)


def make_tools(loop: SeededLoop, seed: str, wall: Callable[[], float]) -> Tools:
    """Clock, sleep and chance of one process; its steady clock is nobody else's."""
    random = Random(seed)
    ahead = random.uniform(0.0, 10_000.0)
    return Tools(clock=lambda: loop.now + ahead, wall=wall, random=random)


def permit_of(parts: Parts, id: str, token: int) -> str | None:
    """The permit of its lane under which a delivery has been started."""
    for job in parts.engine.desk.active:
        if job.id == id and job.delivery.token == token and job.permit is not None:
            return job.permit.permit.id
    return None


def permits_held(parts: Parts) -> set[str]:
    """The permits that this worker's renewals name."""
    return set(parts.engine.permits._held)


def permits_in_use(parts: Parts) -> set[str]:
    """The permits under which its code runs, or ran when it was given up."""
    grips = parts.engine.permits._held.values()
    return {grip.permit.id for grip in grips if grip.job is not None and grip.job.started}


def permits_in_doubt(parts: Parts) -> set[str]:
    """What it has withdrawn, and would once more if it lived: a call may come behind the first."""
    return {permit.id for _, permit in parts.engine.permits._again}


def unused_keys(parts: Parts | None) -> set[str]:
    """The keys of which it holds a permit under which nothing runs.

    What must run alone, and waits for that, has its lane's permit meanwhile.
    """
    if parts is None:
        return set()
    return {
        grip.permit.key
        for grip in parts.engine.permits._held.values()
        if grip.job is None or not (grip.job.started or grip.job.alone)
    }


def has_room(parts: Parts | None) -> bool:
    """True if it has a free slot, and may fetch what fills it."""
    if parts is None:
        return False
    engine = parts.engine
    permitted = engine.permits.fresh() and not engine.permits.hushed()
    return permitted and engine.desk.free > 0 and engine.desk.room > 0


def could_run(parts: Parts | None, key: str) -> bool:
    """True if it could start a task at once that needs a permit of this key."""
    if parts is None:
        return False
    lane = key.split(":")[1]
    limited = parts.engine.limiter._lanes[lane]
    threads = parts.executor._runners[Kind.THREAD].free
    closed = lane in parts.engine.fetcher.paused or (key == limited.key and not limited.open)
    return not closed and (lane != "p" or threads > 0)


def occupied(parts: Parts) -> dict[str, bool]:
    """Why it may be unable to use what it holds."""
    engine = parts.engine
    waiting = any(
        grip.job is not None and not grip.job.started for grip in engine.permits._held.values()
    )
    return {
        "one is alone there": engine.desk.solitary,
        "full": engine.desk.free == 0,
        "no free thread": parts.executor._runners[Kind.THREAD].free <= 0,
        "a task fetched ahead has one": waiting,
    }


def heeds(parts: Parts | None, id: str, token: int) -> bool:
    """True if a delay that this delivery's handler asks for now is the one that it gets.

    A deadline counts from when the job was given to its runner, a little before the handler's
    first instruction: only the job knows whether it is past it.
    """
    return parts is not None and any(
        job.id == id and job.delivery.token == token and job.told is not Told.TIMEOUT
        for job in parts.engine.desk.active
    )


@contextmanager
def repeatable() -> Iterator[None]:
    """Sets of jobs are in an order that does not depend on where they lie in memory."""

    def by_name(job: Job) -> int:
        return zlib.crc32(job.delivery.task.id.encode()) ^ (job.delivery.token & 0xFFFFFFFF)

    before = Job.__hash__
    Job.__hash__ = by_name  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Job.__hash__ = before  # type: ignore[method-assign]
