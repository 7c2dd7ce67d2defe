"""E: leases that end, workers that die, tokens that fence (G3, G4, G5)."""

from __future__ import annotations

import anyio

from xqueue_core.calls import Ability, Beat, Delivery, Held, Hold, Settled
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, between, holds, same
from xqueue_core.conformance.worker import LONG, Worker
from xqueue_core.task import Success

FENCE = {Ability.FENCE}


def noticed(bench: Bench) -> float:
    """Seconds after its last heartbeat by which a worker of the shortest lease was noticed."""
    return bench.short + (bench.harness.capabilities.failure_detection + 1.0) * bench.scale


@case("E52")
async def renewal_keeps(bench: Bench) -> None:
    """A delivery whose worker beats stays its own for several leases: nobody else gets it."""
    task = await bench.submit()
    worker = await bench.worker(lease=bench.short)
    other = await bench.worker("other", lease=bench.short)
    delivery = await worker.one()
    await other.none("deliveries of what another renews", wait=3 * bench.short / bench.scale)
    same(delivery.task.id, task.id, "task delivered")
    same(await worker.told(delivery), Hold.KEPT, "what the heartbeat says")
    await worker.ends(delivery)


@case("E53", needs=FENCE)
async def lost_is_told(bench: Bench) -> None:
    """A worker that comes back after another got its task learns LOST from its first heartbeat,
    and KEPT for what it leases from then on."""
    await bench.submit()
    victim, heir, lost, won = await _taken_over(bench)
    same(await victim.told(lost), Hold.LOST, "what the first heartbeat says")
    await heir.ends(won)
    await bench.submit()
    victim.held.clear()
    again = await victim.one()
    same(await victim.told(again), Hold.KEPT, "what it is told of a new delivery")
    await victim.ends(again)


@case("E54", needs=FENCE)
async def no_stealing_back(bench: Bench) -> None:
    """However often a late worker renews what it lost, it does not get it back: the task stays
    with whom it was given to."""
    await bench.submit()
    victim, heir, lost, won = await _taken_over(bench)
    for _ in range(5):
        same(await victim.told(lost), Hold.LOST, "what the late worker is told")
        same(await heir.told(won), Hold.KEPT, "what the other is told")
    same(await victim.settle(lost), Settled.LOST, "answer to the late worker's settle")
    await heir.ends(won)


@case("E55")
async def waits_its_turn(bench: Bench) -> None:
    """Deliveries that wait in their worker for longer than a lease, renewed meanwhile, are not
    given to anybody else."""
    tasks = await bench.submit_many(12)
    slow = await bench.worker("slow", lease=bench.short)
    idle = await bench.worker("idle", lease=bench.short)
    got = await slow.take(12)
    for delivery in got:
        await idle.none("deliveries of what waits elsewhere", wait=0.2)
        await slow.ends(delivery)
    same({one.task.id for one in got}, {task.id for task in tasks}, "tasks delivered")


@case("E56")
async def not_its_own(bench: Bench) -> None:
    """A worker that asks for more is not given what it is working on, however long it works."""
    await bench.submit_many(3)
    worker = await bench.worker(lease=bench.short)
    got = await worker.take(3)
    end = bench.clock() + 3 * bench.short
    while bench.clock() < end:
        await worker.none("deliveries of what it holds already")
    for delivery in got:
        await worker.ends(delivery)


@case("E57", deadline=40.0, alone=True)
async def to_the_last(bench: Bench) -> None:
    """All of a thousand deliveries of a dead worker come back, to the last one, although living
    workers hold hundreds of older ones."""
    await bench.submit_many(400)
    await bench.submit_many(1000)
    alive = await bench.worker("alive", lease=bench.short)
    older = await alive.take(400)
    victim = await bench.worker("victim", lease=bench.short)
    lost = await victim.take(1000)
    await victim.die()
    heir = await bench.worker("heir", lease=bench.short)
    again = await heir.take(1000, within=noticed(bench) / bench.scale + 10.0)
    same(_ids(again), _ids(lost), "tasks delivered again")
    same(await alive.told(older[0]), Hold.KEPT, "what the living one is told")


@case("E58", needs={Ability.VIEW, Ability.ATTEMPTS}, deadline=30.0)
async def one_reclaim(bench: Bench) -> None:
    """However many processes look for the dead, each task is taken back once; and none of them
    is asked to look again without a pause."""
    tasks = await bench.submit_many(10)
    others = [await bench.another() for _ in range(8)]
    victim = await bench.worker("victim", lease=bench.short)
    heir = await bench.worker("heir", lease=bench.short)
    await victim.take(10)
    await victim.die()
    pauses: list[float] = []

    async def look(n: int) -> None:
        while True:
            pauses.append(await others[n].queue.maintain(0.1))
            await anyio.sleep(max(pauses[-1], 0.005))

    before = bench.clock()
    lookers = [bench.start(look, n) for n in range(len(others))]
    got = await heir.take(10, within=noticed(bench) / bench.scale)
    most = len(others) * (bench.clock() - before + 0.1) / 0.02
    for looker in lookers:
        await looker.stop()
    between(len(pauses), 1, most, "calls of maintain that 8 workers were asked for")
    same({(one.attempt, one.losses) for one in got}, {(1, 1)}, "attempts and losses")
    for task in tasks:
        info = await bench.sees(task, losses=1)
        same([one.how for one in info.history], ["lost", ""], f"deliveries of {task.id}")


@case("E59", needs=FENCE, alone=True)
async def tokens_grow_over_deaths(bench: Bench) -> None:
    """A task's token grows with every worker that dies of it, and over a restart."""
    await bench.submit()
    await bench.worker("bystander", lease=bench.short)
    tokens: list[int] = []
    for n in range(2):
        victim = await bench.worker(f"victim{n}", lease=bench.short)
        tokens.append((await victim.one(within=noticed(bench) / bench.scale)).token)
        await victim.die()
    heir = await bench.worker("heir", lease=bench.short)
    last = await heir.one(within=noticed(bench) / bench.scale)
    tokens.append(last.token)
    if bench.harness.capabilities.durable:
        await bench.reopen(restart="restart" in bench.harness.traits)
        heir.queue = bench.queue
    await heir.beat([], leaving=True)
    worker = await bench.worker("last")
    tokens.append((await worker.one()).token)
    same(tokens, sorted(set(tokens)), "tokens, which ought to grow")


@case("E60")
async def nothing_goes_with_it(bench: Bench) -> None:
    """A dead worker takes nothing along: neither what it held nor what an unanswered call took
    for it; and once that has come back, nobody lists the worker."""
    tasks = await bench.submit_many(30)
    victim = await bench.worker("victim", lease=bench.short)
    await victim.take(20)
    await victim.lease(10, wait=1.0, lost=True)
    await victim.die()
    heir = await bench.worker("heir", lease=bench.short)
    got = await heir.take(30, within=noticed(bench) / bench.scale)
    same(_ids(got), {task.id for task in tasks}, "tasks delivered again")
    if Ability.VIEW not in bench.harness.capabilities.abilities:
        return

    async def unlisted() -> bool:
        return victim.id not in [one.beat.worker for one in await bench.view.workers()]

    await bench.until("the dead worker is not listed any more", unlisted)


@case("E61")
async def over_a_reconnect(bench: Bench) -> None:
    """A worker whose connection ends and that opens another keeps what it held."""
    await bench.submit_many(2)
    async with bench.harness.open(bench.namespace, bench.case.settings) as first:
        worker = await bench.worker(queue=first.queue)
        got = await worker.take(2)
    worker.queue = bench.queue
    reply = await worker.beat()
    same(reply.held, [Hold.KEPT] * 2, "what the heartbeat says")
    for delivery in got:
        await worker.ends(delivery)


@case("E62")
async def reclaimed_beside_new(bench: Bench) -> None:
    """What a dead worker held is delivered although new tasks keep coming, and new ones are
    delivered meanwhile."""
    lost = {task.id for task in await bench.submit_many(3)}
    victim = await bench.worker("victim", lease=bench.short)
    heir = await bench.worker("heir", lease=bench.short)
    await victim.take(3)
    await victim.die()
    new = 0
    end = bench.clock() + noticed(bench) + 2.0 * bench.scale
    while lost and bench.clock() < end:
        await bench.submit_many(3)
        for delivery in await heir.take(3):
            new += delivery.task.id not in lost
            lost.discard(delivery.task.id)
            await heir.ends(delivery)
        await anyio.sleep(0.02)
    same(lost, set(), "tasks of the dead worker that were not delivered")
    holds(new > 0, "new tasks were delivered until the lost ones were back")


@case("E63")
async def clocks_of_clients(bench: Bench) -> None:
    """What a worker says about its own clock decides nothing: neither of two that are an hour
    off is taken for dead, and neither dates anything."""
    await bench.submit_many(2)
    got: dict[float, Delivery] = {}
    workers: dict[float, Worker] = {}
    for off in (-3600.0, 3600.0):
        workers[off] = worker = await bench.worker(lease=LONG)
        await _beat_at(worker, got, off)
        got[off] = await worker.one()
    judge = await bench.worker("judge", lease=bench.short)
    await judge.none("deliveries of what others hold", wait=2 * bench.short / bench.scale)
    first, second = got.values()
    between(second.leased_at - first.leased_at, -0.01, 60.0, "seconds between the two leases")
    for off, worker in workers.items():
        same(await _beat_at(worker, got, off), [Hold.KEPT], f"what the one {off:+g} s off is told")
        same(await worker.settle(got[off], Success()), Settled.APPLIED, "answer to its settle")


async def _beat_at(worker: Worker, got: dict[float, Delivery], off: float) -> list[Hold]:
    """A heartbeat of a worker that believes to have started so long from now."""
    mine = [Held(got[off].task.id, got[off].token)] if off in got else []
    beat = Beat(worker=worker.id, lease=LONG, answered=worker.answered, started_at=1.7e9 + off)
    return (await worker.queue.extend(beat, mine)).held


async def _taken_over(bench: Bench) -> tuple[Worker, Worker, Delivery, Delivery]:
    """A worker that stood still, another that got its task, and both deliveries."""
    victim = await bench.worker("victim", lease=bench.short)
    heir = await bench.worker("heir", lease=bench.short)
    lost = await victim.one()
    await victim.die()
    won = await heir.one(within=noticed(bench) / bench.scale)
    if won.token == lost.token:
        raise Broken(f"the second delivery of {won.task.id} has the token of the first")
    return victim, heir, lost, won


def _ids(deliveries: list[Delivery]) -> set[str]:
    return {one.task.id for one in deliveries}
