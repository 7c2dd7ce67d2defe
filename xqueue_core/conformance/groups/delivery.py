"""C: leases and settles."""

from __future__ import annotations

from functools import partial

import anyio

from xqueue_core.calls import Ability, Delivery, Settle, Settled
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, one_of, same
from xqueue_core.conformance.worker import Worker, ended
from xqueue_core.task import Failed, HandBack, State, Success, Task

TYPES = ("a", "b", "c", "d")


@case("C21")
async def ack_removes(bench: Bench) -> None:
    """A settled task is never delivered again."""
    await bench.submit_many(3)
    worker = await bench.worker()
    for delivery in await worker.take(3):
        await worker.ends(delivery)
    other = await bench.worker("other")
    await other.none("deliveries after all were settled", wait=0.3)


@case("C22")
async def out_of_order(bench: Bench) -> None:
    """Deliveries may be settled in any order, each by itself."""
    tasks = await bench.submit_many(5)
    worker = await bench.worker()
    got = {one.task.id: one for one in await worker.take(5)}
    for index in (3, 0, 4):
        await worker.ends(got[tasks[index].id])
    for index in (1, 2):
        await worker.ends(got[tasks[index].id], HandBack())
    left = await worker.take(2)
    same({one.task.id for one in left}, {tasks[1].id, tasks[2].id}, "tasks delivered again")


@case("C23", needs={Ability.FENCE})
async def twice(bench: Bench) -> None:
    """Settling a delivery twice is answered REPEATED, also within one call, and does nothing."""
    await bench.submit_many(2)
    worker = await bench.worker()
    first, second = await worker.take(2)
    await worker.ends(first)
    same(await worker.settle(first), Settled.REPEATED, "answer to the second settle")
    verdicts = await worker.settle_all([ended(second), ended(second)])
    same(verdicts, [Settled.APPLIED, Settled.REPEATED], "answers to two settles in one call")
    await worker.none("deliveries afterwards")


@case("C24")
async def nack(bench: Bench) -> None:
    """A delivery that is handed back is delivered again, to whoever asks."""
    task = await bench.submit()
    worker, other = await bench.worker(), await bench.worker("other")
    await worker.ends(await worker.one(), HandBack())
    same((await other.one()).task.id, task.id, "task delivered to the other worker")


@case("C25", needs={Ability.FENCE})
async def nack_after_ack(bench: Bench) -> None:
    """A hand-back after a success is answered REPEATED and changes nothing."""
    await bench.submit()
    worker = await bench.worker()
    delivery = await worker.one()
    await worker.ends(delivery)
    same(await worker.settle(delivery, HandBack()), Settled.REPEATED, "answer to the hand-back")
    await worker.none("deliveries after the hand-back")


@case("C26", needs={Ability.FENCE})
async def foreign(bench: Bench) -> None:
    """A settle of an unknown task, of a wrong token or of an earlier delivery changes nothing."""
    await bench.submit()
    worker = await bench.worker()
    delivery = await worker.one()
    nobody = Settle("job:nobody", 1, Success())
    ahead = Settle(delivery.task.id, delivery.token + 1, Success())
    same(await worker.settle_all([nobody, ahead]), [Settled.LOST] * 2, "answers")
    await worker.ends(delivery, HandBack())
    again = await worker.one()
    same(await worker.settle(delivery), Settled.REPEATED, "settle of the earlier delivery")
    await worker.ends(again)


@case("C27", needs={Ability.FENCE})
async def partial_failure(bench: Bench) -> None:
    """Each settle of a call has its own verdict, in order: a bad one does not fail the others."""
    await bench.submit_many(3)
    worker = await bench.worker()
    one, two, three = await worker.take(3)
    bad = Settle(two.task.id, two.token + 5, Success())
    verdicts = await worker.settle_all([ended(one), bad, ended(three, Failed(OOPS))])
    same(verdicts, [Settled.APPLIED, Settled.LOST, Settled.APPLIED], "verdicts")
    await worker.ends(two)


@case("C28")
async def limits_of_a_call(bench: Bench) -> None:
    """``lease`` gives no more than its limit, and of each lane no more than it wants."""
    await bench.submit_many(10, "a")
    await bench.submit_many(10, "b")
    worker, other = await bench.worker(), await bench.worker("other")
    between(len(await worker.lease(3, wait=2.0)), 1, 3, "deliveries to a call with limit 3")
    async with anyio.create_task_group() as group:
        counts: list[int] = []

        async def ask(who: Worker, lane: str, limit: int) -> None:
            counts.append(len(await who.lease(limit, lane, wait=1.0)))

        group.start_soon(ask, worker, "a", 2)
        group.start_soon(ask, other, "a", 2)
    between(max(counts), 0, 2, "deliveries to calls with limit 2, made at once")
    got = await other.lease(4, "b", wait=1.0)
    holds(all(one.task.lane == "b" for one in got), "only lanes asked for are delivered")


@case("C29")
async def blocks(bench: Bench) -> None:
    """``lease`` waits for work, returns soon after it comes, and no later than its wait."""
    worker = await bench.worker()
    started = bench.clock()
    same(await worker.lease(wait=0.3), [], "deliveries from an empty lane")
    between(bench.clock() - started, 0.2, 0.3 + 2.0 * bench.scale, "seconds of an empty lease")
    waiting = bench.start(partial(worker.one, within=5.0))
    await anyio.sleep(0.2)
    started = bench.clock()
    await bench.submit()
    await waiting.done()
    between(bench.clock() - started, 0.0, 1.0 * bench.scale, "seconds until a waiting lease wakes")


@case("C30")
async def cancelled_lease(bench: Bench) -> None:
    """Cancelling a waiting ``lease`` at any moment loses nothing: its number is repeated, and
    what it may take even later is handed back by the next heartbeat."""
    worker = await bench.worker(lease=2.0 * bench.scale)
    tasks: list[Task] = []
    got: list[Delivery] = []
    for n in range(12):
        task = bench.task()
        with anyio.move_on_after(0.002 * n):
            async with anyio.create_task_group() as group:
                group.start_soon(bench.queue.put, [task])
                got += await worker.lease(5, wait=5.0)
        tasks.append(task)
    await bench.put_in_doubt(*tasks)
    got += await worker.take(len(tasks) - len(got))
    same(len({one.task.id for one in got}), len(tasks), "different tasks delivered")
    for delivery in got:
        await worker.ends(delivery)


@case("C31", deadline=60.0, alone=True)
async def many_producers(bench: Bench) -> None:
    """20 producers put 10,000 tasks at once: every one is there, and only once."""

    async def produce(producer: int) -> None:
        for _ in range(5):
            await bench.submit_many(100, TYPES[producer % 4])

    async with anyio.create_task_group() as group:
        for producer in range(20):
            group.start_soon(produce, producer)
    worker = await bench.worker()
    got: set[str] = set()
    while len(got) < 10_000:
        deliveries = await worker.take(500, within=10.0)
        got |= {one.task.id for one in deliveries}
        verdicts = await worker.settle_all([ended(one) for one in deliveries])
        same(set(verdicts), {Settled.APPLIED}, "verdicts")
    await worker.none("deliveries after all 10,000")


@case("C32", deadline=40.0, alone=True)
async def many_workers(bench: Bench) -> None:
    """50 workers at once share the tasks: together they get all, and none gets another's."""
    await bench.submit_many(500)
    got: list[str] = []

    async def work(name: str) -> None:
        worker = await bench.worker(name)
        while len(got) < 500:
            deliveries = await worker.lease(7, wait=0.1)
            got.extend(one.task.id for one in deliveries)
            await worker.settle_all([ended(one) for one in deliveries])

    async with anyio.create_task_group() as group:
        for n in range(50):
            group.start_soon(work, f"w{n}")
    same((len(got), len(set(got))), (500, 500), "deliveries, and different tasks among them")


@case("C33")
async def lanes_apart(bench: Bench) -> None:
    """A worker gets only tasks of the lanes it asks for."""
    here, there = await bench.submit("a"), await bench.submit("b")
    worker = await bench.worker()
    same((await worker.one("a")).task.id, here.id, "task from lane a")
    await worker.none("more deliveries from lane a", "a")
    same((await worker.one("b")).task.id, there.id, "task from lane b")


@case("C34")
async def late_worker(bench: Bench) -> None:
    """A worker that comes late, from another process, sees what waits."""
    tasks = await bench.submit_many(5)
    late = await bench.worker("late", queue=(await bench.another()).queue)
    got = await late.take(5)
    same({one.task.id for one in got}, {task.id for task in tasks}, "tasks delivered")


@case("C34b", needs={Ability.VIEW})
async def states(bench: Bench) -> None:
    """A reader sees a task pending, processing with its worker, and then its end."""
    task = await bench.submit()
    await bench.sees(task, state=State.PENDING, attempt=0)
    worker = await bench.worker()
    delivery = await worker.one()
    await bench.sees(
        task, state=State.PROCESSING, worker=worker.id, attempt=1, delivery=delivery.token
    )
    await worker.ends(delivery)
    info = await bench.sees(task, state=State.SUCCESS)
    one_of(info.failure, (None,), "failure of a success")
    holds(info.finished_at >= info.accepted_at > 0, "a success has the times of both its ends")
