"""Who submits, and who gives orders: clients with a net of their own, who repeat their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any

from simulation.loop import Strand
from simulation.net import Net
from simulation.plan import Job, Move
from simulation.unique import Refusal
from support.history.events import (
    CancelAnswered,
    CancelAsked,
    LanePaused,
    LaneResumed,
    LimitSet,
    ReplayAsked,
    Submitted,
)
from support.history.noting import wishes
from xqueue_core.calls import (
    AnyCommand,
    Cancel,
    Did,
    Order,
    Pause,
    Purge,
    Put,
    Replay,
    Reschedule,
    Resume,
    Verdict,
)
from xqueue_core.errors import Unavailable, Unknown

if TYPE_CHECKING:
    from simulation.world import World


class Client:
    """Repeats every call until it has an answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._story = world.story
        self._loop = world.loop
        self.strand = Strand("client", self)
        random = Random(f"client/{world.plan.seed}")
        self._draw = random.random
        self.net = Net(world.broker, self.strand, random, flaky=world.plan.flaky, late=False)
        faces = world.broker.faces(random)
        self._queue, self._semaphore = faces.queue, faces.semaphore
        self.limiting = asyncio.Lock()
        self._resumes: dict[str, int] = {}  # of each lane
        self._resuming: dict[str, int] = {}  # how many are under way

    async def _sure(self, name: str, make: Callable[[], Awaitable[Any]]) -> tuple[Any, int]:
        """The answer, and how many times it was asked for before."""
        tries = 0
        while True:
            try:
                return await self.net.call(name, make), tries
            except (Unavailable, Unknown):
                tries += 1
                await asyncio.sleep(0.2 + 0.2 * self._draw())

    # -- submitting --------------------------------------------------------------------------------

    async def submit_all(self, jobs: list[Job]) -> None:
        """Submit each at its time."""
        submits = [asyncio.create_task(self._submit(job)) for job in jobs]
        await asyncio.gather(*submits)

    async def _submit(self, job: Job) -> None:
        await asyncio.sleep(job.at)
        await self._put(job)
        if self._draw() < 0.1:
            await asyncio.sleep(3 * self._draw())
            await self._put(job, again=True)

    async def _put(self, job: Job, *, again: bool = False) -> None:
        begun, task = self._loop.now, job.task
        [[verdict], tries] = await self._sure("put", lambda: self._queue.put([task]))
        if again or (verdict.put is Put.DUPLICATE and verdict.of == task.id):
            good = again or tries or job.twin or self.net.troubled(5.0)
        else:
            good = verdict.put is Put.NEW or (verdict.put is Put.DUPLICATE and job.twin)
        if not good:
            self._world.wrong.append(f"G2: put of {task.id} was answered {verdict}")
        answer: Any = "duplicate" if again else "ok"
        if verdict.put is Put.DUPLICATE and verdict.of != task.id:
            answer = "refused"  # another task stands in its place
            self._world.refused.add(task.id)
            if not again:
                self._world.refusals.append(Refusal(task.id, verdict.of, begun))
        else:  # also if it was refused at first: its key is free by now
            self._world.refused.discard(task.id)
        self._story.say("client", "put", f"{task.id}: {verdict.put} {verdict.of}")
        self._story.note(
            Submitted(
                at=begun,
                id=task.id,
                answer=answer,
                due=begun if task.id in self._world.moved else begun + task.delay,
                lane=task.lane,
                key=task.key or "",
                priority=task.priority,
                **wishes(task),
            )
        )

    # -- orders ------------------------------------------------------------------------------------

    async def wish(self, move: Move) -> None:
        """Carry out one wish."""
        await asyncio.sleep(move.at)
        self._story.say("client", "wish", str(move))
        await getattr(self, f"_{move.name}")(move)

    async def _control(self, command: AnyCommand) -> Verdict:
        [[verdict], _] = await self._sure("control", lambda: self._carry_out(command))
        self._story.say("client", "answered", f"{command}: {verdict.did}")
        return verdict  # type: ignore[no-any-return]

    def _carry_out(self, command: AnyCommand) -> Awaitable[Any]:
        if isinstance(command, Replay):  # noted where it happens: attempts count anew
            self._story.note(ReplayAsked(at=self._loop.now, id=command.id))
        return self._queue.control([command])

    async def _cancel(self, move: Move) -> None:
        id = move.how["id"]
        self._story.note(CancelAsked(at=self._loop.now, id=id))
        verdict = await self._control(Cancel(id=id))
        self._story.note(CancelAnswered(at=self._loop.now, id=id, did=verdict.did.value))

    async def _replay(self, move: Move) -> None:
        await self._control(Replay(id=move.how["id"], request=f"wish/{move.at}"))

    async def _reschedule(self, move: Move) -> None:
        await self._control(Reschedule(id=move.how["id"], delay=move.how["delay"]))

    async def _purge(self, move: Move) -> None:
        """As a cancel of what lives; what has ended is forgotten."""
        id = move.how["id"]
        self._story.note(CancelAsked(at=self._loop.now, id=id))
        verdict = await self._control(Purge(id=id))
        if verdict.did is Did.REQUESTED:
            self._story.note(CancelAnswered(at=self._loop.now, id=id, did="requested"))
        elif verdict.did is Did.APPLIED:
            self._world.purged.append((id, self._loop.now))

    async def _quiet(self, move: Move) -> None:
        worker = self._world.processes[move.worker].name
        await self._control(Order(worker=worker, quiet=True))
        await asyncio.sleep(move.lasts)
        await self._control(Order(worker=worker))

    async def _leave(self, move: Move) -> None:
        await self._control(Order(worker=self._world.processes[move.worker].name, stop=True))

    async def _pause(self, move: Move) -> None:
        lane, before = move.how["lane"], self._resumes.copy()
        await self._control(Pause(lane=lane))
        # Else nobody knows which came last.
        if self._resumes == before and not self._resuming.get(lane):
            self._story.note(LanePaused(at=self._loop.now, lane=lane))

    async def _resume(self, move: Move) -> None:
        await self.resume(move.how["lane"])

    async def resume(self, lane: str) -> None:
        """Undo a pause."""
        self._resumes[lane] = self._resumes.get(lane, 0) + 1
        self._story.note(LaneResumed(at=self._loop.now, lane=lane))
        self._resuming[lane] = self._resuming.get(lane, 0) + 1
        await self._control(Resume(lane=lane))
        self._resuming[lane] -= 1

    async def _limit(self, move: Move) -> None:
        key, limit = move.how["key"], move.how["limit"]
        semaphore = self._semaphore
        assert semaphore is not None
        async with self.limiting:  # what is set last is what counts
            begun = self._loop.now
            await self._sure("set_limit", lambda: semaphore.set_limit(key, limit))
            self._world.limits[key] = limit
            self.tell_limit(key, begun)

    def tell_limit(self, key: str, begun: float) -> None:
        """Note the limit that counts from now on."""
        pinned = self._world.limits.get(key)
        limit = self._world.declared.get(key) if pinned is None else pinned
        if limit is not None:  # who has lost a permit and runs on is beside it
            limit += self._world.forgotten.get(key, 0)
        kind, _, name = key.partition(":")
        where = {"lane": name} if kind == "lane" else {"key": name.partition(":")[2]}
        self._story.note(LimitSet(at=begun, effective=self._loop.now, limit=limit, **where))
