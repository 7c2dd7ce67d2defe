"""P3.4: keyed tasks wait in one place, the queue."""

from __future__ import annotations

from typing import Any

from xqueue_core.calls import Ability, Cancel, Delivery, Line, Unpark
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, one_of, same
from xqueue_core.conformance.worker import Worker
from xqueue_core.task import HandBack, Parked, State, Task

LIMITS = {Ability.LIMITS}
SEEN = {Ability.LIMITS, Ability.VIEW}


async def park(bench: Bench, worker: Worker, **options: Any) -> Delivery:
    """Put a task of key ``k``, lease it and park it: its key has a line from now on."""
    await bench.submit(key="k", **options)
    delivery = await worker.one()
    await worker.ends(delivery, Parked())
    return delivery


async def lines(bench: Bench, *lanes: str, limit: int = 100) -> list[Line]:
    """Every line in these lanes, page by page."""
    found: list[Line] = []
    after: str | None = None
    for _ in range(100):
        page = await bench.queue.parked(lanes, after, limit)
        holds(len(page.items) <= limit, "a page holds no more lines than asked for")
        found += page.items
        after = page.next
        if after is None:
            break
    return found


async def waiting(bench: Bench, lane: str = "job") -> dict[str, int]:
    """How many wait for each key of a lane, all shards together."""
    counts: dict[str, int] = {}
    for line in await lines(bench, lane):
        counts[line.key] = counts.get(line.key, 0) + line.waiting
    return counts


@case("P3.4a", needs=LIMITS)
async def joins_the_line(bench: Bench) -> None:
    """A task put for a key that has a line joins it undelivered: a saturated key costs one
    lease. Other keys, and tasks without one, are delivered."""
    worker = await bench.worker()
    await park(bench, worker)
    await bench.submit_many(3, key="k")
    others = [await bench.submit(key="other"), await bench.submit()]
    got = await worker.take(2)
    same({one.task.id for one in got}, {task.id for task in others}, "tasks delivered")
    await worker.none("deliveries of the saturated key")
    same(await waiting(bench), {"k": 4}, "how many wait for each key")


@case("P3.4b", needs=LIMITS)
async def oldest_first(bench: Bench) -> None:
    """``unpark`` lets go as many as it says, oldest first, and they come before others of their
    level; what it says beyond the line has no effect later."""
    worker = await bench.worker()
    parked = [(await park(bench, worker)).task]
    parked += await bench.submit_many(3, key="k")
    await bench.submit_many(2)
    same((await bench.does(Unpark("job", "k", 2))).count, 2, "how many were unparked")
    got = await _in_order(worker, 2)
    same(got, [task.id for task in parked[:2]], "tasks delivered first")
    same((await bench.does(Unpark("job", "k", 10))).count, 2, "how many were left to unpark")
    same(await _in_order(worker, 2), [task.id for task in parked[2:]], "tasks delivered next")
    late = await bench.submit(key="k")
    same(len(await worker.take(3)), 3, "deliveries when the line is gone")
    holds(any(one[0] == late.id for one in worker.held), "a key without a line is delivered")


@case("P3.4c", needs=LIMITS)
async def place_in_the_line(bench: Bench) -> None:
    """A key's line is in order of arrival, and a task that parks again keeps its place in it."""
    worker = await bench.worker()
    first = (await park(bench, worker)).task
    second = await bench.submit(key="k")
    third = await bench.submit(key="k")
    # As after a repeated unpark: more are let go than there is room for.
    await bench.does(Unpark("job", "k", 2))
    deliveries = [await worker.one(), await worker.one()]
    same([one.task.id for one in deliveries], [first.id, second.id], "tasks unparked first")
    for delivery in reversed(deliveries):
        await worker.ends(delivery, Parked())
    for task in (first, second, third):
        await bench.does(Unpark("job", "k", 1))
        same((await worker.one()).task.id, task.id, "the oldest of the line goes next")


@case("P3.4d", needs=LIMITS)
async def pages_of_lines(bench: Bench) -> None:
    """``parked`` tells every line of the lanes asked for, in pages."""
    worker = await bench.worker()
    for lane, count in (("a", 5), ("b", 2)):
        for n in range(count):
            await bench.submit(lane, key=f"k{n}")
            await worker.ends(await worker.one(lane), Parked())
    for limit in (1, 2, 100):
        found = [(one.lane, one.key, one.waiting) for one in await lines(bench, "a", limit=limit)]
        same(sorted(found), [("a", f"k{n}", 1) for n in range(5)], f"lines in pages of {limit}")
    same(len(await lines(bench, "a", "b", "empty", limit=2)), 7, "lines of both lanes")


@case("P3.4e", needs=SEEN)
async def shown_as_parked(bench: Bench) -> None:
    """A parked task is pending, and says what it waits for; the ledger counts it as both."""
    worker = await bench.worker()
    delivery = await park(bench, worker)
    await bench.sees(delivery.task.id, state=State.PENDING, waiting_for="key:k", attempt=0)
    row = (await bench.view.stats()).lanes["job"].types["job"]
    same((row.pending, row.parked), (1, 1), "pending and parked")
    await bench.does(Unpark("job", "k", 1))
    await bench.sees(delivery.task.id, waiting_for="")
    same((await bench.view.stats()).lanes["job"].types["job"].parked, 0, "parked afterwards")


@case("P3.4f", needs=SEEN | {Ability.CANCEL})
async def leaves_the_line(bench: Bench) -> None:
    """A parked task that is canceled leaves its line, which says so."""
    worker = await bench.worker()
    first = (await park(bench, worker)).task
    second = await bench.submit(key="k")
    await bench.does(Cancel(first.id))
    same(await waiting(bench), {"k": 1}, "how many wait")
    await bench.does(Unpark("job", "k", 1))
    same((await worker.one()).task.id, second.id, "task unparked")
    same(await waiting(bench), {}, "how many wait in the end")


@case("P3.4g", needs=LIMITS | {Ability.DELAY})
async def due_joins_the_line(bench: Bench) -> None:
    """A delayed task of a key with a line joins it when it is due."""
    await bench.submit(key="k", delay=0.3)
    worker = await bench.worker()
    await bench.submit(key="k")
    await worker.ends(await worker.one(), Parked())

    async def joined() -> bool:
        return await waiting(bench) == {"k": 2}

    await bench.until("both wait in the line", joined)
    await worker.none("deliveries of the saturated key")


@case("P3.4h", needs=SEEN)
async def unable_waits_longer(bench: Bench) -> None:
    """A delivery that its worker cannot run goes behind the others of its level, says why, and
    is due again a second later, uncharged."""
    task = await bench.submit()
    worker = await bench.worker()
    await worker.ends(await worker.one(), HandBack(unable="type"))
    info = await bench.sees(task, reason="type", attempt=0)
    one_of(info.state, (State.SCHEDULED, State.PENDING), "state")
    others = await bench.submit_many(3)
    again = await _until_delivered(worker, task, others)
    holds(again.leased_at - info.due_at < 1.5 * bench.scale, "it is delivered when due")
    holds(again.leased_at >= info.due_at, "it is not delivered before it is due")


async def _until_delivered(worker: Worker, task: Task, others: list[Task]) -> Delivery:
    """Lease until the task comes, which has to be after all the others."""
    for other in others:
        same((await worker.one()).task.id, other.id, "task delivered meanwhile")
    again = await worker.one(within=3.0)
    same((again.task.id, again.attempt), (task.id, 1), "id and attempt of what comes back")
    return again


async def _in_order(worker: Worker, count: int) -> list[str]:
    return [(await worker.one()).task.id for _ in range(count)]
