"""G: order within a lane and a key, and priority. P2.3 has the rules behind it in full."""

from __future__ import annotations

import anyio

from xqueue_core.calls import Ability, Delivery, Edit, Replay
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, holds, same
from xqueue_core.conformance.worker import Worker
from xqueue_core.task import Task

PRIORITY = {Ability.PRIORITY}
LANE_ORDER = {"lane_order"}


@case("G73", traits=LANE_ORDER)
async def first_come(bench: Bench) -> None:
    """Tasks of one level and one key are delivered in the order in which they were put, to one
    worker in one call or several, and to many workers of several processes."""
    processes = [bench.queue, (await bench.another()).queue]
    keyed = {"key": "k"} if Ability.LIMITS in bench.harness.capabilities.abilities else {}
    tasks: list[Task] = []
    for n in (1, 5, 1, 23):
        part = [bench.task(**keyed) for _ in range(n)]
        await bench.accept(*part, queue=processes[len(tasks) % 2])
        tasks += part
    one = await bench.worker("one")
    got: list[Delivery] = []
    for limit in (1, 4, 7):
        got += await one.lease(limit, wait=1.0)
    many = [await bench.worker("many", queue=processes[n % 2]) for n in range(6)]
    for n in range(18):
        got.append(await many[n % 6].one())
    same([one.task.id for one in got], [task.id for task in tasks], "order of deliveries")


@case("G73b", traits=LANE_ORDER)
async def first_come_at_once(bench: Bench) -> None:
    """However many workers ask at the same time, what is delivered is what was put first, and
    each gets its part in that order."""
    tasks = await bench.submit_many(60)
    place = {task.id: n for n, task in enumerate(tasks)}
    queue = (await bench.another()).queue
    workers = [await bench.worker(queue=queue if n % 2 else None) for n in range(6)]
    got: list[list[int]] = [[] for _ in workers]

    async def asks(n: int, worker: Worker) -> None:
        for _ in range(3):
            deliveries = await worker.take(2)
            got[n] += [place[one.task.id] for one in deliveries]

    async with anyio.create_task_group() as group:
        for n, worker in enumerate(workers):
            group.start_soon(asks, n, worker)
    same(sorted(n for some in got for n in some), list(range(36)), "places of what was delivered")
    for some in got:
        same(some, sorted(some), "order of one worker's deliveries")


@case("G76", needs=PRIORITY, traits=LANE_ORDER)
async def higher_overtakes(bench: Bench) -> None:
    """A task of a higher priority that is put while others wait is delivered next, to whichever
    worker asks; then the next lower level goes on where it was."""
    queue = (await bench.another()).queue
    workers = [await bench.worker(queue=one) for one in (None, queue, None)]
    low = await bench.submit_many(4, priority=1)
    got: list[str] = [(await workers[0].one()).task.id]
    high = [await bench.submit(priority=level) for level in (3, 9, 3)]
    got += [(await workers[n % 3].one()).task.id for n in range(1, 7)]
    order = [low[0], high[1], high[0], high[2], *low[1:]]
    same(got, [task.id for task in order], "order of deliveries")


@case("G77", needs=PRIORITY)
async def lowest_goes_on(bench: Bench) -> None:
    """The lowest level makes progress although the highest never runs dry and those between have
    work: of one worker's deliveries one in sixteen is of a lower level, each level in its turn."""
    lower = 3
    for level in (5, 1):
        await bench.submit_many(20, priority=level)
    lowest = await bench.submit_many(2, priority=0)
    # Where order holds per shard each has a count of its own.
    exact = "lane_order" in bench.harness.traits
    most = 16 * lower if exact else 400
    worker = await bench.worker()
    await bench.submit_many(24, priority=9)
    for _ in range(most // 8):
        got = await worker.lease(8, wait=1.0)
        if any(one.task.priority == 0 for one in got):
            break
        await bench.submit_many(sum(one.task.priority == 9 for one in got), priority=9)
    else:
        raise Broken(f"none of the lowest level is among the first {most} deliveries")
    taken = [one.task.id for one in got if one.task.priority == 0]
    holds(set(taken) <= {task.id for task in lowest}, "what is of the lowest level was put there")


@case("G78", needs=PRIORITY | {Ability.ATTEMPTS, Ability.VIEW}, traits=LANE_ORDER)
async def changed_by_replay(bench: Bench) -> None:
    """A task that is replayed with another priority takes its place among those of that level."""
    worker = await bench.worker()
    low = await bench.submit(priority=0, max_retry=0)
    high = await bench.submit(priority=9, max_retry=0)
    for _ in range(2):
        await bench.fail_for_good(worker)
    between = await bench.submit_many(2, priority=5)
    await bench.does(Replay(low.id, "up", Edit(priority=8)))
    await bench.does(Replay(high.id, "down", Edit(priority=2)))
    got = [await worker.one() for _ in range(4)]
    order = [low, *between, high]
    same([one.task.id for one in got], [task.id for task in order], "order of deliveries")
    same([one.task.priority for one in got], [8, 5, 5, 2], "their priorities")
