"""M: the reply to a call of the queue gets lost, each reply it waits for in its turn.

Repeated as the core repeats it, with the same ids and numbers, it leaves what it would have left.
"""

from __future__ import annotations

from functools import partial

from xqueue_core.calls import (
    Ability,
    Announce,
    Delivery,
    Hold,
    Put,
    Settled,
    Want,
)
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, one_of, same
from xqueue_core.conformance.wire import Look, Wire, any_is
from xqueue_core.conformance.worker import Worker, ended
from xqueue_core.task import Failed, HandBack, Outcome, Parked, RetryAt, State, Success, Task
from xqueue_core.views import Filter, TaskInfo

PROXY = {"proxy"}
ATTEMPTS = {Ability.ATTEMPTS}


@case("M127a", traits=PROXY, needs={Ability.DEDUPE}, deadline=60.0)
async def put(bench: Bench) -> None:
    """A put whose reply got lost is repeated under the same ids: each task is accepted, once, and
    so is one with a unique key."""
    accepted: list[Task] = []
    worker = await bench.worker()
    async with Wire.open(bench) as wire:
        for n, loss in enumerate(wire.losses()):
            hash = f"{n:026}"
            unique = bench.task(name=f"k{hash}~{n:032x}", unique_key=hash)
            tasks = [bench.task(), unique, bench.task()]
            known = any_is(bench, tasks, lambda info: info is not None)
            answers = await loss.of(partial(wire.queue.put, tasks), known)
            for task, answer in zip(tasks, answers, strict=True):
                one_of(answer.put, (Put.NEW, Put.UNDECIDED, Put.DUPLICATE), "answer in the end")
                same(answer.of or task.id, task.id, "task that it says is there")
            await bench.put_in_doubt(*tasks)
            accepted += tasks
    got = await worker.take(len(accepted))
    wanted = sorted(task.id for task in accepted)
    same(sorted(one.task.id for one in got), wanted, "tasks delivered")
    for delivery in got:
        await worker.ends(delivery)
    await worker.none("deliveries of what was put once")


@case("M127b", traits=PROXY, needs=ATTEMPTS, deadline=60.0)
async def lease(bench: Bench) -> None:
    """A lease whose reply got lost is repeated with its number: the worker gets what was taken,
    once, and on its first attempt; also if it asks beside of which lanes there is work."""
    wants = [Want("job", 3), Want("seldom", 0)]
    await bench.submit("seldom")
    async with Wire.open(bench) as wire:
        for loss in wire.losses():
            tasks = await bench.submit_many(3)
            worker = await bench.worker(queue=wire.queue)
            taken = any_is(bench, tasks, lambda info: info is not None and info.delivery > 0)
            answer = await loss.of(partial(worker.ask, wants, 3), taken)
            got = list(answer.deliveries)
            got += await worker.take(3 - len(got), "job")
            same(sorted(one.task.id for one in got), sorted(t.id for t in tasks), "delivered")
            same({one.attempt for one in got}, {1}, "attempts")
            for delivery in got:
                await worker.ends(delivery)
            await worker.beat(leaving=True)
    await (await bench.worker()).none("deliveries in the end", "job")


#: How deliveries end, and the attempt of the next one of their task; 0 if there is none.
_ENDS: tuple[tuple[Outcome, int], ...] = (
    (Success(b"1"), 0),
    (Failed(OOPS), 0),
    (RetryAt(0.0, OOPS), 2),
    (HandBack(reason="as the case wanted"), 1),
)


@case("M127c", traits=PROXY, needs=ATTEMPTS | {Ability.FENCE}, deadline=60.0)
async def settle(bench: Bench) -> None:
    """A settle whose reply got lost is repeated: every outcome was recorded, once, and its
    follow-up is there once."""
    async with Wire.open(bench) as wire:
        for loss in wire.losses():
            tasks = await bench.submit_many(len(_ENDS))
            worker = await bench.worker(queue=wire.queue)
            got = {one.task.id: one for one in await worker.take(len(_ENDS))}
            settles = [
                ended(got[task.id], end) for task, (end, _) in zip(tasks, _ENDS, strict=True)
            ]
            done = any_is(bench, tasks, _not_held)
            verdicts = await loss.of(partial(worker.settle_all, settles), done)
            holds(set(verdicts) <= {Settled.APPLIED, Settled.REPEATED}, f"all was ours: {verdicts}")
            wanted = {t.id: n for t, (_, n) in zip(tasks, _ENDS, strict=True) if n}
            again = await worker.take(len(wanted))
            same({one.task.id: one.attempt for one in again}, wanted, "next attempts")
            for delivery in again:
                await worker.ends(delivery)
            await worker.none("deliveries of what has ended")
            await worker.beat(leaving=True)


def _not_held(info: TaskInfo | None) -> bool:
    return info is None or info.state is not State.PROCESSING


@case("M127d", traits=PROXY, needs=ATTEMPTS, deadline=60.0)
async def extend(bench: Bench) -> None:
    """A heartbeat whose reply got lost is repeated: the first one registers, the next ones keep
    what is held and hand back what is not, uncharged, and the last one leaves nothing behind. It
    is Unavailable only if it was not recorded."""
    heir = await bench.worker("heir")
    async with Wire.open(bench) as wire:
        for loss in wire.losses():
            worker = Worker(bench, wire.queue, f"new~{bench.number():032x}", 60.0)
            await loss.of(partial(worker.beat, number=1), _recorded(bench, worker))
            await _leases(bench, worker)
        for loss in wire.losses():
            worker = await bench.worker(queue=wire.queue)
            kept = await _leases(bench, worker)
            await bench.submit()
            await worker.lease(1, lost=True)
            worker.answered = worker.call  # as if it had refused to believe the answer
            told = await loss.of(partial(worker.beat, number=1), _recorded(bench, worker))
            same(told.held, [Hold.KEPT], "verdict on what is held")
            back = await heir.one()
            same(back.attempt, 1, "attempt of what was handed back")
            await heir.ends(back)
            await worker.ends(kept)
        for loss in wire.losses():
            worker = await bench.worker(queue=wire.queue)
            left = await _leases(bench, worker)
            worker.held.clear()
            gone = any_is(bench, [left.task], _not_held)
            await loss.of(partial(worker.beat, leaving=True), gone)
            same((await heir.one()).attempt, 1, "attempt of what the leaving one held")
            await heir.settle_all([ended(one) for one in heir.held.values()])


def _recorded(bench: Bench, worker: Worker) -> Look | None:
    """A look whether the worker's heartbeat of number 1 is there; None without a view."""
    if Ability.VIEW not in bench.harness.capabilities.abilities:
        return None

    async def look() -> bool:
        beats = [one.beat for one in await bench.view.workers()]
        return any((one.worker, one.number) == (worker.id, 1) for one in beats)

    return look


async def _leases(bench: Bench, worker: Worker) -> Delivery:
    await bench.submit()
    return await worker.one()


@case("M127f", traits=PROXY, needs={Ability.VIEW, Ability.DELAY}, deadline=60.0)
async def upkeep(bench: Bench) -> None:
    """A call of ``maintain`` whose reply got lost is repeated, with nobody else maintaining: what
    was due waits to be leased, and is delivered, once."""
    worker = await bench.worker()
    await bench.rest()
    async with Wire.open(bench) as wire:
        for loss in wire.losses():
            task = await bench.submit(delay=0.05)
            await bench.passes(0.06)
            holds(await loss.of(lambda: wire.queue.maintain(0.1)) >= 0, "it answers seconds")
            await bench.sees(task, state=State.PENDING)
            delivery = await worker.one()
            same(delivery.task.id, task.id, "task delivered")
            await worker.ends(delivery)
            await worker.none("deliveries of what was due once")


@case("M127g", traits=PROXY, needs={Ability.VIEW, Ability.DEDUPE}, deadline=60.0)
async def reads(bench: Bench) -> None:
    """A question whose reply got lost is asked again, and answered as anybody else's."""
    tasks = await bench.submit_many(3)
    worker = await bench.worker()
    await worker.ends(await worker.one())
    await bench.does(Announce("daily", "every 60s"))
    if Ability.LIMITS in bench.harness.capabilities.abilities:
        await bench.submit("keyed", key="k")
        await worker.ends(await worker.one("keyed"), Parked())
    lines = list((await bench.queue.parked(["keyed"], None, 10)).items)
    ids = [task.id for task in tasks]
    async with Wire.open(bench) as wire:
        for loss in wire.losses():
            same(await loss.of(lambda: wire.view.find(ids)), await bench.view.find(ids), "find")
        for loss in wire.losses():
            listed = await loss.of(lambda: wire.view.list(Filter(), None, 10))
            same(listed.items, (await bench.view.list(Filter(), None, 10)).items, "list")
        for loss in wire.losses():
            stats = await loss.of(wire.view.stats)
            same(stats.lanes, (await bench.view.stats()).lanes, "stats")
        for loss in wire.losses():
            found = [one.beat.worker for one in await loss.of(wire.view.workers)]
            same(found, [worker.id], "workers")
        for loss in wire.losses():
            shown = await loss.of(wire.view.schedules)
            same([one.name for one in shown], ["daily"], "schedules")
        for loss in wire.losses():
            page = await loss.of(lambda: wire.queue.parked(["keyed"], None, 10))
            same(page.items, lines, "lines")
