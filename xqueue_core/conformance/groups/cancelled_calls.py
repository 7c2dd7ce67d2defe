"""M: a call that is cancelled while it is under way leaves a clean connection behind.

What comes next on it must not be answered by what was meant for the call that is gone.
"""

from __future__ import annotations

from functools import partial

import anyio

from xqueue_core.calls import Ability, Delivery, Hold, Settled, Want
from xqueue_core.conformance.bench import TYPE, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import one_of, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.every import Call, Every
from xqueue_core.conformance.wire import in_time
from xqueue_core.conformance.worker import Worker
from xqueue_core.task import Task
from xqueue_core.views import Filter

#: At which parts of the time that a call takes it is cancelled.
PARTS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.95)
#: Seconds after which a call that waits is cancelled.
WAITS = (0.0, 0.002, 0.05)


#: What is told of a settle that was made before, perhaps.
_OURS = (Settled.APPLIED, Settled.REPEATED)


class Probe:
    """Asks for things whose answers tell which question they belong to."""

    def __init__(self, bench: Bench, one: Worker, three: Worker, tasks: list[Task]) -> None:
        self._bench = bench
        self._one = one
        self._three = three
        self._tasks = tasks
        self._abilities = bench.harness.capabilities.abilities

    @classmethod
    async def made(cls, bench: Bench) -> Probe:
        """Two workers of which one holds a delivery and the other three."""
        tasks = await bench.submit_many(4, "probe")
        one, three = await bench.worker("one"), await bench.worker("three")
        await one.take(1, "probe")
        await three.take(3, "probe")
        return cls(bench, one, three, tasks)

    async def clean(self) -> None:
        """Fail if an answer is not to what was asked, some questions asked at the same time."""
        async with anyio.create_task_group() as group:
            for call in (self._beats, self._finds, self._inspects):
                group.start_soon(in_time, self._bench, call)

    async def _beats(self) -> None:
        for worker, count in ((self._one, 1), (self._three, 3)):
            same((await worker.beat()).held, [Hold.KEPT] * count, "verdicts of a heartbeat")

    async def _finds(self) -> None:
        if Ability.VIEW not in self._abilities:
            return
        for wanted in (self._tasks[:1], self._tasks[1:3]):
            found = await self._bench.view.find([task.id for task in wanted])
            ids = [info.id if info else "" for info in found]
            same(ids, [task.id for task in wanted], "tasks found")

    async def _inspects(self) -> None:
        if Ability.LIMITS not in self._abilities:
            return
        for keys in (["a"], ["b", "c"]):
            shown = await self._bench.semaphore.inspect(keys)
            same([one.key for one in shown], keys, "keys shown")

    async def end(self) -> None:
        """Settle what is held."""
        for worker in (self._one, self._three):
            for delivery in list(worker.held.values()):
                await worker.ends(delivery)


@case("M135a", deadline=90.0)
async def cancelled(bench: Bench) -> None:
    """Each call of each face, cancelled at any time, leaves the connection clean; made again, it
    has its effect, once."""
    probe = await Probe.made(bench)
    every = await Every.made(bench, bench.faces)
    for call in every.calls.values():
        seconds = await _takes(bench, call)
        for part in PARTS:
            with anyio.move_on_after(part * seconds):
                await call()
            await probe.clean()
    for call in every.calls.values():
        await in_time(bench, call)
    await every.ends()
    await probe.end()


async def _takes(bench: Bench, call: Call) -> float:
    """Seconds that a call takes: the shortest of three."""
    times = []
    for _ in range(3):
        before = bench.clock()
        await in_time(bench, call)
        times.append(bench.clock() - before)
    return min(times)


@case("M135b", needs={Ability.ATTEMPTS, Ability.FENCE, Ability.DEDUPE}, deadline=60.0)
async def first_calls(bench: Bench) -> None:
    """The calls that change something, cancelled the first time: repeated with the same ids and
    numbers, they leave what one call would have left."""
    probe, worker = await Probe.made(bench), await bench.worker()
    before = bench.clock()
    await bench.submit()
    seconds = bench.clock() - before
    deliveries = await worker.take(1, TYPE)
    for part in PARTS:
        task = bench.task()
        with anyio.move_on_after(part * seconds):
            await bench.queue.put([task])
        await probe.clean()
        await bench.put_in_doubt(task)
        got: list[Delivery] = []
        with anyio.move_on_after(part * seconds):
            got = await worker.lease(1, TYPE)
        await probe.clean()
        [delivery] = got or await worker.take(1, TYPE)
        same((delivery.task.id, delivery.attempt), (task.id, 1), "task delivered, and attempt")
        settled, deliveries = deliveries[0], [delivery]
        with anyio.move_on_after(part * seconds):
            await worker.settle(settled)
        await probe.clean()
        one_of(await worker.settle(settled), _OURS, "answer to the settle in the end")
        await worker.none("more deliveries", TYPE, wait=0.0)
    for delivery in deliveries:
        await worker.ends(delivery)
    await probe.end()


@case("M135c", deadline=60.0)
async def waiting_calls(bench: Bench) -> None:
    """A call that waits, for work, for a permit or for an event, can be cancelled at once, and
    leaves the connection clean."""
    probe, worker = await Probe.made(bench), await bench.worker()
    abilities = bench.harness.capabilities.abilities
    wants = [Want("nothing", 1)]
    number = worker.answered + 1
    calls: list[Call] = [partial(bench.queue.lease, wants, 1, number, worker.id, 30.0)]
    if Ability.LIMITS in abilities:
        desk = Desk(bench)
        await desk.limit("k", 1)
        await desk.gets("k")
        calls.append(partial(bench.semaphore.acquire, [desk.wish("k")], 30.0))
    if Ability.EVENTS in abilities:
        calls.append(partial(_listens, bench))
    for call in calls:
        for seconds in WAITS:
            with anyio.move_on_after(seconds) as scope:
                await call()
            same(scope.cancelled_caught, True, "whether it was cancelled while it waited")
            await probe.clean()
    await bench.submit()
    await worker.ends(await worker.one(TYPE))
    await probe.end()


async def _listens(bench: Bench) -> None:
    nobody = Filter(ids=frozenset({"job:nobody"}))
    async for _ in bench.notifier.subscribe(nobody):
        return
