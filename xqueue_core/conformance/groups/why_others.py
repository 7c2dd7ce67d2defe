"""WHY: what is said of a task that waits for others: workers, limits, those before it."""

from __future__ import annotations

from xqueue_core.calls import Ability, Order, Unpark
from xqueue_core.conformance.asking import beats, registers, says, why
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, one_of, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.worker import LONG
from xqueue_core.task import Parked
from xqueue_core.why import Behind, Busy, Holder, KeyLimit, LaneLimit, NoWorker, Ready

VIEW = {Ability.VIEW}
LIMITS = {Ability.VIEW, Ability.LIMITS}


@case("WHY11", needs=VIEW)
async def nobody_serves_it(bench: Bench) -> None:
    """That no worker serves a task is told: none at all, none of its lane, none of its type."""
    task = await bench.submit()
    same((await says(bench, task, NoWorker)).cause, "none", "without a worker")
    await registers(bench, "other", lanes=["jobs"], types=["jobs"])

    async def elsewhere() -> NoWorker | None:
        found = await says(bench, task, NoWorker)
        return found if found.cause == "lane" else None

    found = await bench.until("a worker of another lane is seen", elsewhere)
    same(found and found.near, ("jobs",), "lanes of like names")
    mine = await registers(bench, "mine", types=["jobs"])

    async def untyped() -> NoWorker | None:
        found = await says(bench, task, NoWorker)
        return found if found.cause == "type" else None

    found = await bench.until("a worker of another type is seen", untyped)
    same(
        found and (found.workers, found.near), ((mine,), ("jobs",)), "workers, types of like names"
    )
    await registers(bench, "right")
    await says(bench, task, Ready)


@case("WHY12", needs=VIEW)
async def quiet(bench: Bench) -> None:
    """Workers that lease nothing more, by an order or as they end, do not count as serving it."""
    task = await bench.submit()
    id = await registers(bench, "w")
    await says(bench, task, Ready)
    for order in (Order(id, quiet=True), Order(id, stop=True)):
        await bench.does(order)
        found = await says(bench, task, NoWorker)
        same((found.cause, found.workers), ("quiet", (id,)), "why nobody takes it")
        await bench.does(Order(id))
        await says(bench, task, Ready)
    await beats(bench, id, draining=True)  # nobody ordered it: its process was told to end
    found = await says(bench, task, NoWorker)
    same((found.cause, found.workers), ("quiet", (id,)), "why nobody takes it")


@case("WHY13", needs=VIEW, deadline=30.0)
async def dead(bench: Bench) -> None:
    """A worker that was not heard of for its lease does not count as serving a task."""
    worker = await bench.worker(lease=bench.short)
    task = await bench.submit()
    await says(bench, task, Ready)
    await worker.die()
    found = await says(bench, task, NoWorker, within=10.0)
    one_of(found.cause, ("dead", "none"), "why nobody takes it")
    if found.cause == "dead":
        same(found.workers, (worker.id,), "the last one that served its lane")
        holds((found.seen_ago or 0.0) >= bench.short, "it was not heard of for a lease")


@case("WHY14", needs=VIEW)
async def busy(bench: Bench) -> None:
    """That all slots are in use is told by the last heartbeats of those that serve the task."""
    id = await registers(bench, "w", slots=2, running=2)
    await registers(bench, "other", lanes=["other"], types=["other"])
    task = await bench.submit()
    found = await says(bench, task, Busy)
    same((found.slots, found.running, found.workers), (2, 2, (id,)), "slots in use")
    await registers(bench, "x", slots=2, running=1)
    same((await says(bench, task, Ready)).free, 1, "free slots")


@case("WHY15", needs=LIMITS)
async def lane_limit(bench: Bench) -> None:
    """A lane at its limit says who holds it, how many, and for how long if they died."""
    await registers(bench, "w")
    one, two = Desk(bench, "one"), Desk(bench, "two")
    await one.limit("lane:job", 3)
    held = [await one.gets("lane:job"), await two.gets("lane:job"), await two.gets("lane:job")]
    for desk in (one, two):
        await desk.renew(*desk.held.values())
    task = await bench.submit()
    found = await says(bench, task, LaneLimit)
    same((found.limit, found.used, found.pinned), (3, 3, True), "the limit and its use")
    _same_holders(found.holders, {two.worker: 2, one.worker: 1})
    _last_for(found.holders, bench)
    await one.release(held[0])
    await says(bench, task, Ready)


@case("WHY16", needs=LIMITS)
async def key_limit(bench: Bench) -> None:
    """A parked task says who holds its key, and its place in the key's line."""
    worker = await bench.worker()
    desk = Desk(bench)
    permit = await desk.gets("key:job:k", limit=1, stamp=1.0)
    await desk.renew(permit)
    first = await bench.submit(key="k", key_limit=1)
    await says(bench, first, KeyLimit)  # not parked yet, and told all the same
    await worker.ends(await worker.one(), Parked())
    rest = await bench.submit_many(2, key="k", key_limit=1)
    for place, task in enumerate([first, *rest], 1):
        found = await says(bench, task, KeyLimit)
        same((found.key, found.limit, found.used), ("k", 1, 1), "key, limit, permits in use")
        same((found.parked, found.waiting), (True, 3), "whether parked, and how many wait")
        one_of(found.place, (place, None), "place in the line")
        _same_holders(found.holders, {desk.worker: 1})
        _last_for(found.holders, bench)
    await desk.release(permit)
    found = await says(bench, first, KeyLimit)
    same((found.full, found.holders), (False, ()), "whether the key is full, and its holders")
    await bench.does(Unpark("job", "k", 3))
    await says(bench, first, Ready)


@case("WHY17", needs=VIEW | {Ability.PRIORITY})
async def behind(bench: Bench) -> None:
    """How many of its lane come before a task is told, those of a higher priority apart."""
    await registers(bench, "w")
    tasks = await bench.submit_many(3, priority=3)
    above = await bench.submit_many(2, priority=5)
    await bench.submit_many(4)
    await bench.submit_many(4, "other", priority=9)
    for place, task in enumerate(tasks, 2):
        found = await says(bench, task, Behind)
        told = found.count if found.exact else place
        same((told, found.higher), (place, 2), f"tasks before {task.id}")
        one_of(found.waiting, (9, None), "tasks that wait in the lane")
    ahead = (await why(bench, above[0])).reasons
    same([one.code for one in ahead], ["ready"], "what is said of the first")
    if bench.harness.capabilities.order_scope == "lane":
        worker = await bench.worker()
        got = [one.task.id for one in await worker.take(5, "job")]
        same(got, [task.id for task in [*above, *tasks]], "order in which they are delivered")


def _same_holders(holders: tuple[Holder, ...], want: dict[str, int]) -> None:
    same({one.worker: one.permits for one in holders}, want, "permits by worker")


def _last_for(holders: tuple[Holder, ...], bench: Bench) -> None:
    """A backend need not tell how long permits last; but what it tells must be right."""
    for one in holders:
        if one.expires_in is not None:
            low = LONG - 5.0 * bench.scale
            between(one.expires_in, low, LONG + 5.0, "seconds until the permit would expire")
