"""F: delays and schedules. G8: never early, by the broker's clock."""

from __future__ import annotations

import anyio

from xqueue_core.calls import Ability, Cancel, Did, Put, Reschedule
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, same
from xqueue_core.errors import SubmitError, Unsupported
from xqueue_core.task import Slot, State

DELAY = {Ability.DELAY}


def latest(bench: Bench, delay: float) -> float:
    """When a task of this delay must have started on an idle system."""
    return delay + bench.harness.capabilities.delay_resolution + 1.0 * bench.scale


@case("F64", needs=DELAY)
async def not_early(bench: Bench) -> None:
    """A delayed task starts at its time, never before, and not much after."""
    worker = await bench.worker()
    for delay in (0.3, 0.7):
        before = bench.clock()
        await bench.submit(delay=delay)
        delivery = await worker.one()
        between(bench.clock() - before, delay - 0.01, latest(bench, delay), "seconds of delay")
        holds(delivery.leased_at >= delivery.due_at, "by the broker's clock it was leased when due")
        await worker.ends(delivery)


@case("F64b", needs=DELAY)
async def earlier_one_comes_first(bench: Bench) -> None:
    """A task that is due earlier than those put before it wakes the worker that waits."""
    worker = await bench.worker()
    await bench.submit(delay=30.0)
    waiting = bench.start(worker.one)
    await anyio.sleep(0.1)
    before = bench.clock()
    task = await bench.submit(delay=0.3)
    same((await waiting.done()).task.id, task.id, "task delivered")
    between(bench.clock() - before, 0.29, latest(bench, 0.3), "seconds of delay")


@case("F65", needs=DELAY, traits={"durable"}, alone=True)
async def survives_restart(bench: Bench) -> None:
    """A delay survives that everything is closed and opened again: not early, not lost."""
    before = bench.clock()
    task = await bench.submit(delay=1.0)
    ready = await bench.submit("ready")
    await bench.reopen(restart="restart" in bench.harness.traits)
    worker = await bench.worker()
    same((await worker.one("ready")).task.id, ready.id, "task that was ready")
    same((await worker.one("job")).task.id, task.id, "task that was delayed")
    holds(bench.clock() - before >= 0.99, "the delayed task did not start early")


@case("F66", needs=DELAY | {Ability.VIEW})
async def far_future(bench: Bench) -> None:
    """The longest delay claimed is kept; a longer one is refused with a typed error."""
    longest = bench.harness.capabilities.max_delay
    task = await bench.submit(delay=longest)
    info = await bench.sees(task, state=State.SCHEDULED)
    between(info.due_at - info.accepted_at, longest - 1, longest + 1, "seconds until due")
    answer = (await bench.put(bench.task(delay=longest * 1.01 + 1)))[0]
    same(answer.put, Put.REJECTED, "a delay beyond the longest")
    holds(isinstance(answer.error, SubmitError | Unsupported), "its verdict is a typed error")
    await (await bench.worker()).none("deliveries of what is far in the future")


@case("F67", needs=DELAY, deadline=40.0, alone=True)
async def many_at_one_instant(bench: Bench) -> None:
    """500 tasks due at the same moment all come, and one put meanwhile does not wait for them."""
    tasks = await bench.submit_many(500, delay=0.5)
    worker = await bench.worker()
    await bench.passes(0.5)
    before = bench.clock()
    quick = await bench.submit("quick")
    same((await worker.one("quick")).task.id, quick.id, "task put at that moment")
    between(bench.clock() - before, 0.0, 2.0 * bench.scale, "seconds it took")
    got = await worker.take(500, "job", within=10.0)
    same({one.task.id for one in got}, {task.id for task in tasks}, "delayed tasks delivered")


@case("F67b", needs=DELAY)
async def order_of_due_times(bench: Bench) -> None:
    """Tasks that came due while nobody leased are delivered in the order of their times."""
    late = await bench.submit(delay=0.5)
    early = await bench.submit(delay=0.2)
    between_them = await bench.submit(delay=0.35)
    worker = await bench.worker()
    await bench.passes(0.6)
    got = await worker.take(3, "job", within=10.0)
    wanted = [early.id, between_them.id, late.id]
    same([one.task.id for one in got], wanted, "delayed tasks, first due first")


@case("F68", needs=DELAY | {Ability.CANCEL})
async def cancel_and_reschedule(bench: Bench) -> None:
    """A delayed task can be canceled, and given another time, sooner or later."""
    canceled = await bench.submit(delay=0.4)
    sooner = await bench.submit(delay=60.0)
    later = await bench.submit(delay=0.4)
    verdicts = await bench.control(
        Cancel(canceled.id), Reschedule(sooner.id, 0.1), Reschedule(later.id, 60.0)
    )
    same([one.did for one in verdicts], [Did.APPLIED] * 3, "answers")
    worker = await bench.worker()
    delivery = await worker.one()
    same(delivery.task.id, sooner.id, "task delivered")
    await worker.none("deliveries of the others", wait=0.6)
    await bench.does(Reschedule(sooner.id, 1.0), Did.RUNNING)
    await worker.ends(delivery)
    await bench.does(Reschedule(sooner.id, 1.0), Did.FINAL)
    await bench.does(Reschedule("job:nobody", 1.0), Did.UNKNOWN)
    too_late = bench.harness.capabilities.max_delay * 1.01 + 1
    await bench.does(Reschedule(later.id, too_late), Did.INVALID)


@case("F69", needs=DELAY)
async def mover_dies(bench: Bench) -> None:
    """Maintenance that is killed at any moment, while another runs, neither loses nor doubles
    what is due."""
    tasks = await bench.submit_many(100, delay=0.3)
    other = await bench.another()
    worker = await bench.worker()
    await bench.passes(0.29)
    for n in range(20):
        with anyio.move_on_after(0.0005 * n):
            await other.queue.maintain(0.1)
    got = await worker.take(100)
    same({one.task.id for one in got}, {task.id for task in tasks}, "tasks delivered")
    await worker.none("deliveries beyond those")


@case("F70", needs={Ability.DEDUPE})
async def slot_once(bench: Bench) -> None:
    """Of many schedulers that fire the same slot of a schedule one is accepted."""
    processes = [bench.faces, await bench.another(), await bench.another()]
    slot = Slot("every minute", 1, 1000.0)

    async def fire(n: int) -> None:
        await bench.put(bench.task(slot=slot), queue=processes[n % 3].queue)

    async with anyio.create_task_group() as group:
        for n in range(12):
            group.start_soon(fire, n)
    same((sum(bench.new.values()), bench.duplicates), (1, 11), "NEW and DUPLICATE answers")


@case("F71", needs={Ability.DEDUPE})
async def slots_only_advance(bench: Bench) -> None:
    """A slot at or below the last one, or of an older version, fires nothing; a later one does,
    and each schedule counts for itself."""

    async def fire(name: str, version: int, at: float) -> Put:
        return (await bench.put(bench.task(slot=Slot(name, version, at))))[0].put

    same(await fire("a", 1, 100.0), Put.NEW, "first slot")
    same(await fire("a", 1, 160.0), Put.NEW, "next slot")
    same(await fire("a", 1, 100.0), Put.DUPLICATE, "slot behind the last")
    same(await fire("a", 1, 160.0), Put.DUPLICATE, "the last slot again")
    same(await fire("b", 1, 100.0), Put.NEW, "the same slot of another schedule")
    same(await fire("a", 2, 220.0), Put.NEW, "slot of a newer version")
    same(await fire("a", 1, 280.0), Put.DUPLICATE, "slot of an older version")
    if Ability.VIEW in bench.harness.capabilities.abilities:
        told = {(one.name, one.version, one.last) for one in await bench.view.schedules()}
        same(told, {("a", 2, 220.0), ("b", 1, 100.0)}, "schedules listed")


@case("F72")
async def now(bench: Bench) -> None:
    """No delay, a negative one and a time that has passed all mean now."""
    tasks = [
        bench.task(),
        bench.task(delay=0.0),
        bench.task(delay=-5.0),
        bench.task(run_at=1.0),
    ]
    await bench.accept(*tasks)
    got = await (await bench.worker()).take(len(tasks), within=1.0)
    same({one.task.id for one in got}, {task.id for task in tasks}, "tasks delivered at once")
