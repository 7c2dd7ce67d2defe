"""One worker process: two threads, its net, and all that can be done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from simulation import leaks, parts
from simulation.broker import WALL
from simulation.faces import behind
from simulation.heard import Heard
from simulation.loop import Strand
from simulation.net import Net
from simulation.threads import SimThreads
from simulation.troubles import Troubles
from support.history.events import (
    Born,
    Ended,
    Killed,
    Started,
    Told,
)
from xqueue_core.calls import Settle
from xqueue_core.context import Context
from xqueue_core.handlers import Reject, Retry
from xqueue_core.task import RetryAt
from xqueue_core.worker.duties import Exit
from xqueue_core.worker.job import Job

if TYPE_CHECKING:
    from simulation.world import World


#: Delay that a handler asks for (seconds).
RETRY = 0.3


class Boom(Exception):
    """A handler fails."""


class Process:
    """A worker from its birth to its end; a new process is a new worker.

    Args:
        name: its id.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.loop = world.loop
        self.engine_strand = Strand(name, self)
        self.handler_strand = Strand(f"{name}/h", self)
        self.thread_strand = Strand(f"{name}/t", self)  # all threads of plain functions
        self.dead = False
        self.stopping = False
        self.poisoned = False  # the poison killed it
        self.gone_at = float("inf")
        self.ahead = 0.0  # of its wall clock
        self.running: dict[tuple[str, int], float] = {}  # what its handlers are at, since when
        self.woken: list[float] = []  # when a thread of it went on
        self._blocked = False  # its handlers' loop, as the watch sees it
        self.served: dict[str, float] = {}  # when it last started something under a permit of a key
        self.told = Heard(world, self)  # by heartbeats
        self.yielding: dict[str, float] = {}  # permits it was told to yield, and when
        self._random = Random(f"process/{world.plan.seed}/{name}")
        plan = world.plan
        self.net = Net(
            world.broker,
            self.engine_strand,
            self._random,
            embedded=plan.embedded,
            flaky=plan.flaky,
        )
        self.out = Troubles(world.story, self.loop.time, name, self.net.troubled)
        self.task: asyncio.Task[Exit] | None = None
        self.parts: parts.Parts | None = None

    @property
    def strands(self) -> tuple[Strand, ...]:
        """All of it."""
        return self.engine_strand, self.handler_strand, self.thread_strand

    # -- its life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work."""
        world, embedded = self.world, self.world.plan.embedded
        world.story.note(Born(at=self.loop.now, worker=self.name))
        world.story.say(self.name, "born")
        pair = [
            behind(
                self.net,
                world.broker,
                world.broker.faces(self._random, embedded=embedded),
                self,
                embedded=embedded,
            )
            for _ in range(2)
        ]
        tools = parts.make_tools(
            self.loop,
            f"tools/{world.plan.seed}/{self.name}",
            lambda: WALL + self.loop.now + self.ahead,
        )
        schedules = self._schedule(self.engine_strand), self._schedule(self.handler_strand)
        self.parts = parts.assemble(
            self.name,
            (pair[0], pair[1]),
            tools,
            (self.engine_strand, self.handler_strand),
            schedules,
            self._threads,
        )
        world.tampered(self.parts)
        self.task = self.loop.spawn(self.engine_strand, self.parts.life.run())
        self.task.add_done_callback(self._ended)

    def _schedule(self, strand: Strand) -> Callable[[Callable[[], None]], Any]:
        lag, draw = self.world.plan.lag, self._random.random

        def soon(call: Callable[[], None]) -> Any:
            if lag and draw() < lag:
                return self.loop.call_later(0.3 * draw() ** 3, call, context=strand.context)
            return self.loop.call_soon(call, context=strand.context)

        return soon

    def _threads(self, ended: Callable[[Job, Any], None]) -> SimThreads:
        executor: Any = getattr(ended, "__self__")  # noqa: B009 - a bound method's
        return SimThreads(
            parts.OPTIONS.threads,
            partial(self.loop.call_later, context=self.thread_strand.context),
            self._schedule(self.handler_strand),
            executor._bodies,
            self._begun,
            self._told,
            ended,
        )

    def _ended(self, task: asyncio.Task[Exit]) -> None:
        """The engine has ended, and with it the process."""
        if task.cancelled():
            how = "cancelled"
        elif (error := task.exception()) is not None:
            how = f"failed: {error!r}"
            self.world.wrong.append(f"{self.name} ended by an error: {error!r}")
        else:
            how = task.result().value
        self.world.story.say(self.name, "ended", how)
        left = [one for one in self.engine_strand.unfinished() if one is not task]
        if left:
            self.world.wrong.append(f"{self.name} has ended, and {left[0]!r} runs on")
        self.world.wrong += self.told.ended(how)
        clean = not task.cancelled() and not self.net.troubled(leaks.CALM)
        if clean:
            self.world.wrong += leaks.kept(self)
        self._die(clean=clean)

    def _die(self, *, clean: bool = False) -> None:
        """Nothing of it runs any more; after a clean end nothing is left to lose."""
        self.dead = True
        now = self.gone_at = self.loop.now
        for id, token in self.running:
            self.world.story.note(Ended(at=now, id=id, token=token, how="canceled"))
        if not clean:
            self.world.story.note(Killed(at=now, sent=now, worker=self.name))
        for strand in self.strands:
            self.loop.kill(strand)
        self.world.died(self)

    # -- what is done to it ----------------------------------------------------------------------

    def crash(self, why: str = "") -> None:
        """SIGKILL."""
        if not self.dead:
            self.world.story.say(self.name, "crashes", why)
            self._die()

    def stop(self) -> None:
        """SIGTERM, by way of the engine's loop."""
        if not self.dead and self.parts is not None:
            self.stopping = True
            self.loop.call_soon(self.parts.life.stop, context=self.engine_strand.context)

    def gives_up(self, one: Settle) -> bool:
        """True if it ends, and this is about code of it that runs beyond its time-out."""
        ends = self.parts is not None and self.parts.engine.stopping.is_set()
        late = type(one.outcome) is RetryAt and one.outcome.failure.reason == "process_timeout"
        return ends and late and (one.id, one.token) in self.running

    async def block(self, seconds: float) -> None:
        """Its handlers' loop is blocked for so long, which is noticed after half of that."""
        self.loop.hold(self.handler_strand)
        await asyncio.sleep(seconds / 2)
        self._watch(blocked=True)
        await asyncio.sleep(seconds / 2)
        self.woken.append(self.loop.now)
        self.loop.release(self.handler_strand)
        self._watch(blocked=False)

    def _watch(self, *, blocked: bool) -> None:
        self._blocked = blocked
        if not self.dead and self.parts is not None:
            self.loop.call_soon(self._watched, context=self.engine_strand.context)

    def _watched(self) -> None:
        # As it is by now: the watch is in the engine's own thread, and never tells the last first.
        if self.parts is not None:
            self.parts.engine.pauses.blocks(self._blocked)

    def cancel_at(self, step: int) -> None:
        """Cancel the engine's life when it has run so many more callbacks."""
        self.engine_strand.at_step = (self.engine_strand.steps + step, self._cancel)

    def _cancel(self) -> None:
        if self.task is not None:
            self.world.story.say(self.name, "cancel", f"step {self.engine_strand.steps}")
            self.stopping = True
            self.task.cancel()

    # -- what its handlers do ----------------------------------------------------------------------

    async def handle(self, ctx: Context) -> str:
        """A coroutine function's body."""
        job = self.world.jobs[ctx.id]
        self._started(ctx)
        how: Any = "raised"
        try:
            if job.poison:
                await asyncio.sleep(0.01)
                self.poisoned = True
                self.crash("poison")
            if job.blocks:
                self.loop.spawn(self.loop.home, self.block(job.blocks))
            await asyncio.sleep(job.takes)
            self._fail(ctx)
            how = "returned"
        except asyncio.CancelledError:
            how = "canceled"
            self._told(ctx)
            if job.lingers:
                await asyncio.sleep(job.lingers)
            raise
        finally:
            self._left(ctx, how)
        return "done"

    def handle_plainly(self, ctx: Context) -> str:
        """A plain function's body, at its end: it began a while ago."""
        how: Any = "raised"
        try:
            ctx.canceled  # noqa: B018 - a function that looks, and goes on
            self._fail(ctx)
            how = "returned"
        finally:
            self._left(ctx, how)
        return "done"

    def _told(self, ctx: Context) -> None:
        self.world.story.note(Told(at=self.loop.now, id=ctx.id, token=ctx.token))

    def _begun(self, ctx: Context) -> float:
        self._started(ctx)
        return self.world.jobs[ctx.id].takes

    def _fail(self, ctx: Context) -> None:
        job = self.world.jobs[ctx.id]
        if ctx.attempt > job.fails:
            return
        if job.how == "retry":
            raise Retry(RETRY)
        if job.how == "reject":
            raise Reject("no")
        raise Boom("as planned")

    def _started(self, ctx: Context) -> None:
        task, now = self.world.jobs[ctx.id].task, self.loop.now
        self.running[ctx.id, ctx.token] = now
        self.served[f"lane:{task.lane}"] = now
        if task.key:
            self.served[f"key:{task.lane}:{task.key}"] = now
        self._permitted(ctx, now)
        self.told.starts(ctx.id, task.lane)
        self.world.story.say(self.name, "starts", f"{ctx.id}/{ctx.token % 10**9} #{ctx.attempt}")
        self.world.story.note(
            Started(
                at=now,
                id=ctx.id,
                attempt=ctx.attempt,
                token=ctx.token,
                worker=self.name,
                lane=task.lane,
                key=task.key or "",
                priority=task.priority,
            )
        )

    def _permitted(self, ctx: Context, now: float) -> None:
        """Nothing starts under a permit that its worker was long told to yield (P3.2)."""
        permit = parts.permit_of(self.parts, ctx.id, ctx.token) if self.parts else None
        told = self.yielding.get(permit) if permit is not None else None
        if told is not None and now - told > 1.0 and not any(now - at < 1.0 for at in self.woken):
            self.world.wrong.append(
                f"G6: {ctx.id} started on {self.name} under {permit}, "
                f"{now - told:.3f} s after it was to be yielded"
            )

    def _left(self, ctx: Context, how: Any) -> None:
        now, job = self.loop.now, self.world.jobs[ctx.id]
        self.world.story.say(self.name, "leaves", f"{ctx.id}/{ctx.token % 10**9} {how}")
        self.running.pop((ctx.id, ctx.token), None)
        # What ran too long, or is put off by an operator, has another delay.
        asked = job.how == "retry" and how == "raised"
        asked = asked and parts.heeds(self.parts, ctx.id, ctx.token)
        wait = RETRY if asked and ctx.id not in self.world.moved else 0.0
        self.world.story.note(Ended(at=now, id=ctx.id, token=ctx.token, how=how, wait=wait))
