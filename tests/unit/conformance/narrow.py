"""Narrow defects of order, wake-ups and looks, and the list of these and of ``narrow_cycles``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import msgspec

from unit.conformance.broken import BrokenHarness, Forwarding
from unit.conformance.narrow_cycles import (
    AcceptsWhenClosed,
    DropsWhatIsUnderWay,
    EndsTheOthers,
    EndsTheUnstarted,
    Leaves,
    LosesTheYoungest,
    NeedsLanes,
    OneForAll,
    RegistersWhoPuts,
    Restarts,
    TellsObjects,
    WaitsForWhoWaits,
    a_file,
    a_task,
    a_thread,
)
from unit.conformance.ten import queue, seeing, view
from unit.conformance.views import Seen
from xqueue_core.abc import Faces, Notice, Notifier, TaskQueue, TaskView
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Cancel,
    Edit,
    Held,
    Hold,
    Leased,
    Purge,
    Replay,
    Settle,
    Verdict,
    Want,
)
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.task import HandBack, State, Task
from xqueue_core.views import Filter, Stats, TaskInfo, Tasks, WorkerInfo

# -- G: order --------------------------------------------------------------------------------


class Starves(Forwarding):
    """What is of priority 0 is not delivered while anything of a higher one waits."""

    def __init__(self, inner: TaskQueue, view: TaskView) -> None:
        super().__init__(inner)
        self._view = view

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        got = await super().lease(wants, limit, call, worker, wait)
        low = [one for one in got.deliveries if one.task.priority == 0]
        if low and await self._higher({want.lane for want in wants}):
            await self.inner.settle([Settle(one.task.id, one.token, HandBack()) for one in low])
            got.deliveries = [one for one in got.deliveries if one not in low]
        return got

    async def _higher(self, lanes: Collection[str]) -> bool:
        waiting = Filter(states=frozenset({State.PENDING}), lanes=frozenset(lanes))
        page = await self._view.list(waiting, None, 500)
        return any(one.task is not None and one.task.priority for one in page.items)


class HighIsHigh(Forwarding):
    """What is put alone at the highest level waits with what is of level 3."""

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        if len(tasks) == 1 and tasks[0].priority == 9:
            tasks = [msgspec.structs.replace(tasks[0], priority=3)]
        return await super().put(tasks)


class LastComesFirst(Forwarding):
    """Of several deliveries in one answer the last comes first."""

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        got = await super().lease(wants, limit, call, worker, wait)
        got.deliveries.reverse()
        return got


class KeepsPriority(Forwarding):
    """A replay does not change the priority."""

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        kept = [
            Replay(one.id, one.request, Edit(), one.delay) if isinstance(one, Replay) else one
            for one in commands
        ]
        return await super().control(kept)


# -- K: wake-ups -----------------------------------------------------------------------------


async def _unheard(topics: Collection[str]) -> None:
    """Ring nothing."""


def never_rings(faces: Faces) -> Faces:
    """The bell of the whole store does not ring."""
    assert isinstance(faces.queue, StoredQueue)
    bell: Any = faces.queue._tasks.bell
    bell.ring = _unheard
    return faces


class Skips(Notifier):
    """A subscription behind a cursor misses the first event that is there."""

    def __init__(self, inner: Notifier) -> None:
        self.inner = inner

    async def publish(self, *args: Any) -> None:
        await self.inner.publish(*args)

    async def subscribe(self, filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
        skip = after is not None
        async for notice in self.inner.subscribe(filter, after):
            if not skip:
                yield notice
            skip = False


class Herds(Forwarding):
    """Whatever wakes one of those that wait for work lets the calls of all return."""

    waking = asyncio.Event()

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        answers = await super().put(tasks)
        Herds.waking.set()
        Herds.waking = asyncio.Event()
        return answers

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        got = await super().lease(wants, limit, call, worker, 0.0)
        if got.deliveries or got.ready or not wait:
            return got
        waking = Herds.waking
        try:
            async with asyncio.timeout(wait):
                await waking.wait()
        except TimeoutError:
            pass
        return await super().lease(wants, limit, call, worker, 0.0)


class Muted(BrokenHarness):
    """Wake-ups can be lost; with ``deaf`` a wait looks for work only when it hears one."""

    def __init__(self, *, deaf: bool) -> None:
        self.muted: set[str] = set()
        self._deaf = deaf
        super().__init__()

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        async with super().open(namespace, settings) as faces:
            if self._deaf:
                deaf = _Deaf(faces.queue, lambda: namespace in self.muted)
                faces = faces._replace(queue=deaf)
            yield faces

    async def mute(self, namespace: str) -> None:
        """The store's bell rings no more."""
        self.muted.add(namespace)
        async with super().open(namespace, {}) as faces:
            never_rings(faces)


class _Deaf(Forwarding):
    def __init__(self, inner: TaskQueue, muted: Callable[[], bool]) -> None:
        super().__init__(inner)
        self._muted = muted

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        if self._muted():
            await asyncio.sleep(wait)
            return Leased()
        return await super().lease(wants, limit, call, worker, wait)


class TellsNoCancel(Forwarding):
    """A heartbeat does not say that something was canceled."""

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        reply = await super().extend(beat, held)
        reply.held = [Hold.KEPT if one is Hold.CANCELED else one for one in reply.held]
        return reply


class KeepsForTheGone(Forwarding):
    """What a cancelled call of ``lease`` may have taken stays with its worker."""

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        beat.answered = 0
        return await super().extend(beat, held)

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        # Shielded: it goes on behind the back of whoever has cancelled it.
        return await asyncio.shield(super().lease(wants, limit, call, worker, wait))


# -- L: looks --------------------------------------------------------------------------------


class MiscountsParked(Seen):
    """Its ledger shows one parked task less than there are."""

    async def stats(self) -> Stats:
        stats = await self.inner.stats()
        for lane in stats.lanes.values():
            for row in lane.types.values():
                row.parked -= row.parked > 0
        return stats


class YoungestIsOldest(Seen):
    """The oldest of a lane is told to be as young as the clock."""

    async def stats(self) -> Stats:
        stats = await self.inner.stats()
        for lane in stats.lanes.values():
            lane.oldest_at = lane.oldest_at and stats.at
        return stats


class PeekLeases(Seen):
    """A listing of what waits takes the first of it and hands it back."""

    def __init__(self, inner: TaskView, leased: TaskQueue) -> None:
        super().__init__(inner)
        self._queue = leased
        self._calls = count(1)

    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        page = await super().list(filter, after, limit)
        if filter.states == {State.PENDING} and page.items:
            await self._queue.extend(Beat(worker="peeker~1"), [])
            want = Want(page.items[0].lane, 1)
            got = await self._queue.lease([want], 1, next(self._calls), "peeker~1", 0.0)
            for one in got.deliveries:
                await self._queue.settle([Settle(one.task.id, one.token, HandBack())])
        return page


def peek_leases(faces: Faces) -> Faces:
    """Spoils the view."""
    return faces._replace(view=PeekLeases(faces.needed("view"), faces.queue))


class PurgesTooWide(Forwarding):
    """A purge concerns every task whose id begins with the one that it names."""

    def __init__(self, inner: TaskQueue, view: TaskView) -> None:
        super().__init__(inner)
        self._view = view

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        verdicts = await super().control(commands)
        named = [one.id for one in commands if isinstance(one, Purge)]
        if named:
            page = await self._view.list(Filter(), None, 500)
            alike = [one.id for one in page.items if one.id.startswith(tuple(named))]
            await super().control([Purge(id) for id in alike if id not in named])
        return verdicts


class ForgetsWishes(Forwarding):
    """A cancel or a purge that is repeated is another one."""

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        return await super().control(
            [
                msgspec.structs.replace(one, request="") if isinstance(one, Cancel | Purge) else one
                for one in commands
            ]
        )


class ForgetsFailures(Seen):
    """A task that has failed is not shown from the moment of its end."""

    async def find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        found = await super().find(ids)
        return [None if one and one.state is State.FAILED else one for one in found]


class NobodyDies(Seen):
    """Every worker that was ever listed stays so, and is said to be alive."""

    def __init__(self, inner: TaskView) -> None:
        super().__init__(inner)
        self._known: dict[str, WorkerInfo] = {}

    async def workers(self) -> Sequence[WorkerInfo]:
        self._known |= {one.beat.worker: one for one in await super().workers()}
        for one in self._known.values():
            one.alive = True
        return list(self._known.values())


def skips(faces: Faces) -> Faces:
    """Spoils the notifier."""
    return faces._replace(notifier=Skips(faces.needed("notifier")))


#: How to make each broken backend.
NARROW: Mapping[str, Callable[[], BrokenHarness]] = {
    "accepts when closed": AcceptsWhenClosed,
    "one for all namespaces": OneForAll,
    "leaves a thread": lambda: Leaves(a_thread),
    "leaves a task": lambda: Leaves(a_task),
    "leaves a file": lambda: Leaves(a_file),
    "ends the others": EndsTheOthers,
    "loses the youngest": LosesTheYoungest,
    "registers who puts": lambda: BrokenHarness(queue(RegistersWhoPuts)),
    "tells objects": lambda: BrokenHarness(queue(TellsObjects)),
    "raises what it likes": lambda: Restarts(ConnectionError),
    "needs lanes": lambda: BrokenHarness(queue(NeedsLanes)),
    "drops what is under way": DropsWhatIsUnderWay,
    "waits for who waits": WaitsForWhoWaits,
    "ends the unstarted": lambda: BrokenHarness(queue(EndsTheUnstarted)),
    "high is high": lambda: BrokenHarness(queue(HighIsHigh)),
    "starves": lambda: BrokenHarness(seeing(Starves)),
    "last comes first": lambda: BrokenHarness(queue(LastComesFirst)),
    "keeps priority": lambda: BrokenHarness(queue(KeepsPriority)),
    "never rings": lambda: BrokenHarness(never_rings),
    "skips": lambda: BrokenHarness(skips),
    "hears alone": lambda: Muted(deaf=True),
    "herds": lambda: BrokenHarness(queue(Herds)),
    "tells no cancel": lambda: BrokenHarness(queue(TellsNoCancel)),
    "keeps for the gone": lambda: BrokenHarness(queue(KeepsForTheGone)),
    "miscounts parked": lambda: BrokenHarness(view(MiscountsParked)),
    "youngest is oldest": lambda: BrokenHarness(view(YoungestIsOldest)),
    "peek leases": lambda: BrokenHarness(peek_leases),
    "purges too wide": lambda: BrokenHarness(seeing(PurgesTooWide)),
    "forgets wishes": lambda: BrokenHarness(queue(ForgetsWishes)),
    "forgets failures": lambda: BrokenHarness(view(ForgetsFailures)),
    "nobody dies": lambda: BrokenHarness(view(NobodyDies)),
}
