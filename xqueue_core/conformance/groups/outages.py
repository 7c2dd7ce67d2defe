"""M: the broker restarts, is out of reach, answers nobody, has no room, forgets its scripts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

import anyio

from xqueue_core.calls import Ability, Hold, Put
from xqueue_core.conformance.background import Background
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, holds, one_of, same
from xqueue_core.conformance.engine import Runs, working
from xqueue_core.conformance.every import CLAIMS, Every
from xqueue_core.conformance.wire import HEALS, Wire, answered, fails, in_time
from xqueue_core.context import Context
from xqueue_core.errors import BrokerError, Unavailable, XQueueError
from xqueue_core.task import State, Task

PROXY = {"proxy"}
Fault = Callable[[], AbstractAsyncContextManager[None]]

#: Batches of the load, and tasks of each.
BATCHES, EACH = 24, 5


@case("M126a", traits={"restart", "durable"}, needs={Ability.DEDUPE}, alone=True, deadline=90.0)
async def restarts(bench: Bench) -> None:
    """The broker restarts after a third and after half of a load: nobody opens anything again,
    every task that was accepted ends, and none was started twice."""
    runs = Runs()
    tasks: list[Task] = []

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            await anyio.sleep(0.02 * bench.scale)

    async def started() -> bool:
        return bool(runs.started)

    async def all_ran() -> bool:
        return len(runs.started) == BATCHES * EACH and not runs.now

    async with working(bench, job, concurrency=EACH):
        restarting: list[Background] = []
        for n in range(BATCHES):
            if n in (BATCHES // 3, BATCHES // 2):
                for one in restarting:
                    await one.done()
                restarting.append(bench.start(bench.harness.restart))
            batch = [bench.task() for _ in range(EACH)]
            await _accepted(bench, batch)
            tasks += batch
            if n == 0:  # the worker is there, and not still about to connect
                await bench.until("the first task is started", started, 10.0)
            await anyio.sleep(0.03 * bench.scale)
        for one in restarting:
            await one.done()
        await bench.until("every task has run", all_ran, 12.0)
    await bench.reopen()  # some of its connections may not have been used since
    for task in tasks:
        if Ability.VIEW in bench.harness.capabilities.abilities:
            await bench.sees(task, state=State.SUCCESS)
    same(set(runs.started.values()), {1}, "how often each task was started")
    await (await bench.worker()).none("deliveries in the end")


async def _accepted(bench: Bench, tasks: list[Task]) -> None:
    """Put tasks as a client does: again and again until it is answered."""
    for answer in await answered(bench, partial(bench.queue.put, tasks), 20.0):
        one_of(answer.put, (Put.NEW, Put.UNDECIDED, Put.DUPLICATE), "answer to a put")
    bench.accepted(*tasks)


@case("M126b", traits=PROXY, deadline=60.0)
async def out_of_reach(bench: Bench) -> None:
    """While the broker is out of reach every call ends in time, and each that says what only the
    broker knows fails and says so: put, lease, settle, extend, control, and what concerns limits
    and permits. 3 s after it is back every call is answered, by what was open all the time
    (G10, G11)."""
    async with Wire.open(bench) as wire:
        every = await Every.made(bench, wire.faces)
        async with wire.proxy.cut():
            await _all_fail(bench, every)
        await _all_work(wire, every)


@case("M126c", traits=PROXY, deadline=60.0)
async def no_answer(bench: Bench) -> None:
    """While the broker takes what is sent and answers nobody every call ends in time, and each
    that says what only the broker knows fails and says so; 3 s after that is over every call is
    answered (G10, G11)."""
    async with Wire.open(bench) as wire:
        every = await Every.made(bench, wire.faces)
        async with wire.proxy.black_hole():
            await _all_fail(bench, every)
        await _all_work(wire, every)


async def _all_fail(bench: Bench, every: Every) -> None:
    async with anyio.create_task_group() as group:
        for name, call in every.calls.items():
            group.start_soon(partial(fails, bench, name, call, answers=name not in CLAIMS))


async def _all_work(wire: Wire, every: Every) -> None:
    async with anyio.create_task_group() as group:
        for call in every.calls.values():
            group.start_soon(wire.answered, call)
    await every.ends()


@case("M126d", traits=PROXY, deadline=60.0)
async def opened_in_vain(bench: Bench) -> None:
    """Opening a broker that is out of reach is Unavailable, in time; and closing does not hang
    because the broker is gone."""
    harness = bench.harness
    async with harness.proxy() as proxy:
        through = partial(harness.open_through, proxy, bench.namespace, bench.case.settings)

        async def opened() -> None:
            async with through():
                pass

        for fault in (proxy.cut, proxy.black_hole):
            async with fault():
                try:
                    await in_time(bench, opened)
                except Unavailable:
                    continue
            raise Broken("a broker that is out of reach was opened")
        for fault in (proxy.cut, proxy.black_hole):
            async with AsyncExitStack() as faults:

                async def closed(fault: Fault = fault, faults: AsyncExitStack = faults) -> None:
                    async with through() as faces:
                        await faces.queue.maintain(0.1)
                        await faults.enter_async_context(fault())

                await in_time(bench, closed)


@case("M126e", traits=PROXY, needs={Ability.VIEW}, deadline=60.0)
async def worker_heals(bench: Bench) -> None:
    """A worker of the engine outlives an outage of twice its lease: what it ran goes on and is
    settled, it works on within 3 s without being started again, and nothing is started twice."""
    lease = 1.0 * bench.scale
    runs, gate = Runs(), anyio.Event()

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            if len(runs.started) <= EACH:
                await gate.wait()

    async def ended() -> bool:
        found = await bench.view.find([task.id for task in tasks])
        return all(info is not None and info.state is State.SUCCESS for info in found)

    async with bench.harness.proxy() as proxy:
        tasks = await bench.submit_many(2 * EACH)
        async with working(bench, job, lease=lease, proxy=proxy, concurrency=EACH, prefetch=0):
            await runs.are(bench, EACH)
            async with proxy.cut():
                await bench.passes(lease)
                gate.set()
                await bench.passes(lease)
                same(len(runs.started), EACH, "tasks started while nobody can be reached")
            await bench.until("every task has ended", ended, HEALS + lease / bench.scale)
    same(set(runs.started.values()), {1}, "how often each task was started")
    await (await bench.worker()).none("deliveries in the end")


@case("M129", traits={"fill"}, needs={Ability.DEDUPE}, alone=True, deadline=60.0)
async def full(bench: Bench) -> None:
    """Where there is no room a put is refused with a typed error; what is there is delivered,
    renewed and settled all the same. When there is room again the same put is accepted, once."""
    await bench.submit_many(6)
    worker = await bench.worker()
    await worker.ends(await worker.one())
    task = bench.task()
    async with bench.harness.fill():
        await _refused(bench, task)
        held = await worker.take(3)
        same((await worker.beat()).held, [Hold.KEPT] * 3, "what the holder is told")
        for delivery in held:
            await worker.ends(delivery)
        await _refused(bench, task)
    await bench.put_in_doubt(task)
    rest = await worker.take(3)
    holds(task.id in {one.task.id for one in rest}, "what was put again is delivered")
    for delivery in rest:
        await worker.ends(delivery)
    await worker.none("deliveries in the end")


async def _refused(bench: Bench, task: Task) -> None:
    try:
        [answer] = await in_time(bench, partial(bench.queue.put, [task]))
    except BrokerError:
        return
    good = answer.put is Put.REJECTED and isinstance(answer.error, XQueueError)
    holds(good, f"a put without room is refused with a typed error: {answer}")


@case("M134", traits={"flush"}, alone=True, deadline=60.0)
async def forgotten_scripts(bench: Bench) -> None:
    """When the broker has forgotten the scripts of its clients, every call is answered as before,
    and the client knows how."""
    every = await Every.made(bench, bench.faces)
    for _ in range(2):
        for name, call in every.calls.items():
            await bench.harness.flush()
            try:
                await in_time(bench, call)
            except BrokerError as error:
                raise Broken(f"{name}, when its script was forgotten: {error!r}") from error
    await every.ends()
