"""One schedule from its seed to its report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

from simulation import leaks
from simulation.broker import WALL, Broker
from simulation.checks import violations
from simulation.client import Client
from simulation.fate import Fate
from simulation.hoards import EVERY, Hoards
from simulation.loop import BEGIN, SeededLoop, Standstill, run
from simulation.parts import Parts, repeatable
from simulation.plan import LANES, Job, Plan, plan
from simulation.process import Process
from simulation.quiet import quiet
from simulation.story import Story
from simulation.unique import Refusal
from support.history.events import LimitSet
from xqueue_core.task import FINAL, Event
from xqueue_core.views import Stats, TaskInfo
from xqueue_core.worker import fetcher

#: Seconds within which everything must have come to rest once nothing goes wrong any more.
REST = 60.0
#: Workers here are small. In one schedule of six they fetch by halves all the same, as large ones.
HALVED = 2
#: Seconds within which a worker must end that is told to, when nothing goes wrong.
LEAVE = 20.0

#: Changes the parts of a worker before it starts: a planted bug.
Bug = Callable[[Parts], None]


@dataclass(slots=True)
class Report:
    """What became of a schedule."""

    seed: int
    faults: int  # that struck something
    tasks: int
    digest: str
    violations: list[str]
    trace: list[str] = field(default_factory=list)
    seconds: float = 0.0  # virtual


class World:
    """The cluster of one schedule."""

    def __init__(self, plan: Plan, loop: SeededLoop, bug: Bug | None) -> None:
        self.plan = plan
        self.loop = loop
        self.bug = bug
        self.random = Random(f"world/{plan.seed}")
        self.story = Story(loop.time)
        self.broker = Broker(loop, self.story)
        self.jobs: dict[str, Job] = {job.id: job for job in plan.jobs}
        self.refused: set[str] = set()  # put, and another stands in their place
        self.refusals: list[Refusal] = []
        self.purged: list[tuple[str, float]] = []  # what was purged, and since when
        #: Tasks that may start before the time their submit named.
        self.moved = {
            wish.how["id"] for wish in plan.wishes if wish.name in ("reschedule", "replay")
        }
        self.wrong = self.broker.wrong  # violations seen at once
        self.declared = {f"lane:{lane}": limit for lane, limit in LANES.items()}
        self.declared |= {
            f"key:{job.task.lane}:{job.task.key}": job.task.key_limit
            for job in plan.jobs
            if job.task.key
        }
        self.limits: dict[str, int | None] = {}  # pinned
        self.forgotten: dict[str, int] = {}  # permits that the semaphore lost just now
        self.client = Client(self)
        self.processes: list[Process] = []
        self.left: list[Process] = []  # those that were
        self.hoards = Hoards(self)
        self._born = 0
        self._closing = False
        self.faults = 0  # that struck something
        self.outages: list[tuple[float, float]] = []  # in which nothing reached the broker
        self.infos: list[TaskInfo | None] = []
        self.stats: Stats | None = None
        self.log: list[Event] = []

    # -- workers -----------------------------------------------------------------------------------

    def make(self) -> Process:
        """A new worker, not yet started."""
        self._born += 1
        return Process(self, f"w{self._born}")

    def died(self, process: Process) -> None:
        """A worker's process is gone: another takes its place after a while."""
        self.left.append(process)
        if not self._closing and process in self.processes:
            delay = self.random.uniform(0.05, 1.0)
            place = self.processes.index(process)
            self.loop.call_later(delay, self._replace, place, context=self.loop.home.context)

    def _replace(self, place: int) -> None:
        if not self._closing:
            self.processes[place] = self.make()
            self.processes[place].start()

    def tampered(self, parts: Parts) -> None:
        """A worker is about to start."""
        if self.bug is not None:
            self.bug(parts)

    # -- the course of things --------------------------------------------------------------------

    async def live(self) -> None:
        """All of it."""
        for key, limit in self.declared.items():
            if limit is not None:
                kind, _, name = key.partition(":")
                where = {"lane": name} if kind == "lane" else {"key": name.partition(":")[2]}
                now = self.loop.now
                self.story.note(LimitSet(at=now, effective=now, limit=limit, **where))
        fate = Fate(self)
        self.loop.watched = EVERY, self.hoards.look
        self.processes = [self.make() for _ in range(self.plan.workers)]
        for process in self.processes:
            self.loop.call_later(self.random.uniform(0.0, 0.5), process.start)
        client = self.loop.spawn(self.client.strand, self._client())
        strikes = [asyncio.create_task(fate.strike(move)) for move in self.plan.faults]
        await asyncio.gather(*strikes)
        await fate.enough()
        self.faults = fate.took
        self.story.say("world", "healed")
        await client
        await self._rest()
        await self._close()
        await self._look()

    async def _client(self) -> None:
        wishes = [asyncio.create_task(self.client.wish(move)) for move in self.plan.wishes]
        await self.client.submit_all(self.plan.jobs)
        await asyncio.gather(*wishes)
        for lane in LANES:
            await self.client.resume(lane)

    async def _rest(self) -> None:
        """Until every task has ended."""
        until = self.loop.now + REST
        mine = [id for id in self.jobs if id not in self.refused]
        while (live := await self._live(mine)) and self.loop.now < until:
            while live and self.loop.now < until:  # of those alone: a look at all of them is dear
                await asyncio.sleep(0.2)
                live = await self._live([info.id for info in live])
        for info in live:
            self.wrong.append(
                f"G3: {info.id} is stuck: {info.state}, attempt {info.attempt}, "
                f"losses {info.losses}, worker {info.worker or 'none'}, "
                f"waiting for {info.waiting_for or 'nothing'}, reason {info.reason or 'none'}"
            )

    async def _live(self, ids: list[str]) -> list[TaskInfo]:
        view: Any = self.broker.faces(self.random).view
        infos = await view.find(ids)
        return [info for info in infos if info is not None and info.state not in FINAL]

    async def _close(self) -> None:
        """Every worker is told to end, and does."""
        await asyncio.sleep(0.5)
        self.wrong += await leaks.unnamed(self)
        self._closing = True
        self.loop.watched = None
        for process in self.processes:
            self.wrong += process.told.obeyed()
        until = self.loop.now + LEAVE
        for process in self.processes:
            process.stop()
        while self.loop.now < until and any(not one.dead for one in self.processes):
            await asyncio.sleep(0.1)
        self.wrong.extend(
            f"{process.name} does not end: {len(process.engine_strand.unfinished())} tasks"
            for process in self.processes
            if not process.dead
        )

    async def _look(self) -> None:
        """What the broker has to say at the end."""
        view: Any = self.broker.faces(self.random).view
        self.infos = list(await view.find(list(self.jobs)))
        self.stats = await view.stats()
        self.log = await self.broker.log()
        self.story.closed = True


def simulate(
    seed: int,
    *,
    bug: Bug | None = None,
    trace: bool = False,
    given: Plan | None = None,
    watch: Callable[[World], None] = lambda world: None,
) -> Report:
    """Run the schedule of a seed.

    Args:
        bug: planted in every worker.
        trace: tell it, line by line.
        given: a plan other than the seed's.
        watch: is shown the world at the end.
    """
    what = given or plan(seed)
    loop = SeededLoop(Random(f"loop/{seed}"), loose=what.loose)
    world = World(what, loop, bug)
    few = HALVED if seed % 6 == 1 else fetcher.FEW
    with patch.object(fetcher, "FEW", few), repeatable(), quiet() as complaints:
        try:
            run(loop, world.live())
        except Standstill as stuck:
            world.wrong.append(f"G3: standstill: {stuck}")
        finally:
            world.story.closed = True
    found = [*world.wrong, *loop.faults, *complaints]
    found += violations(world) if world.stats is not None else []
    watch(world)
    lines = world.story.written(world.log, WALL) if trace else []
    return Report(
        seed,
        world.faults,
        len(what.jobs),
        world.story.digest(world.log),
        found,
        lines,
        loop.now - BEGIN,
    )
