"""L: looking changes nothing and tells the truth; purge and expiry take what is theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from xqueue_core.calls import Ability, Delivery, Did, Hold, Purge
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, between, holds, same
from xqueue_core.conformance.ledger import every_task
from xqueue_core.conformance.listener import Listener
from xqueue_core.conformance.worker import Worker
from xqueue_core.task import Canceled, EventName, Failed, HandBack, Parked, State, Task
from xqueue_core.views import Filter, WorkerInfo

VIEW = {Ability.VIEW}

#: The numbers of a ledger that say where tasks are now, or how they ended.
COLUMNS = ("scheduled", "pending", "processing", "success", "failed", "canceled", "timeout")


@case("L120", needs=VIEW)
async def counts_conserve(bench: Bench) -> None:
    """After each step accepted = ready + delayed + parked + running + ended, with each number
    what it ought to be, for its type and lane; a listing finds as many in each state."""
    claimed = bench.harness.capabilities.abilities
    worker = await bench.worker()
    expected: Counter[str] = Counter()

    async def moved(accepted: int = 0, **by: int) -> None:
        expected.update({"accepted": accepted, **by})
        await _shows(bench, expected)

    keyed = {"key": "k"} if Ability.LIMITS in claimed else {}
    await bench.submit_many(5, max_retry=0, **keyed)
    await moved(5, pending=5)
    got = await worker.take(4)
    await moved(pending=-4, processing=4)
    if keyed:
        await worker.ends(got[0], Parked())
        await moved(processing=-1, pending=1, parked=1)
    else:
        await worker.ends(got[0], HandBack())
        await moved(processing=-1, pending=1)
    await worker.ends(got[1])
    await moved(processing=-1, success=1)
    await worker.ends(got[2], Failed(OOPS))
    await moved(processing=-1, failed=1)
    if Ability.DELAY in claimed:
        await bench.submit_many(2, delay=60.0)
        await moved(2, scheduled=2)
    if Ability.CANCEL in claimed:
        await bench.does(Purge(got[0].task.id))
        await moved(pending=-1, canceled=1, parked=-1 if keyed else 0)
    await worker.ends(got[3], Canceled())
    await moved(processing=-1, canceled=1)


async def _shows(bench: Bench, expected: Counter[str]) -> None:
    """Wait until the ledger and a listing are as expected; fail if they are not soon."""
    seen = ""

    async def shown() -> bool:
        nonlocal seen
        row = (await bench.view.stats()).lanes["job"].types["job"]
        states = Counter(State(one.state).value for one in await every_task(bench))
        ledger = {name: getattr(row, name) for name in ("accepted", "parked", *COLUMNS)}
        listed = {name: states[name] for name in COLUMNS}
        seen = f"{_told(ledger)}; listed are {_told(listed)}"
        return all(number == expected[name] for name, number in (ledger | listed).items()) and all(
            number == ledger[name] for name, number in listed.items()
        )

    try:
        await bench.until("", shown)
    except Broken:
        raise Broken(f"expected {_told(expected)}; the ledger says {seen}") from None


def _told(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number)


@case("L121", needs=VIEW)
async def oldest(bench: Bench) -> None:
    """A lane tells when the oldest of its tasks that may be leased was accepted, whatever its
    level and though it was handed back; its age grows; what is delayed or leased is no such
    task, and without one nothing is told."""
    claimed = bench.harness.capabilities.abilities
    if Ability.DELAY in claimed:
        await bench.submit(delay=60.0)
    first = await bench.submit()
    await bench.passes(0.02)
    second = await bench.submit(priority=9 if Ability.PRIORITY in claimed else 0)
    accepted = (await bench.sees(first)).accepted_at
    await _oldest_is(bench, accepted)
    age = await _age(bench)
    await bench.passes(0.2)
    holds(await _age(bench) >= age + 0.15, "the age of the oldest grows with time")
    worker = await bench.worker()
    got = {one.task.id: one for one in await worker.take(2)}
    await _oldest_is(bench, None)
    await worker.ends(got[second.id], HandBack())
    await _oldest_is(bench, (await bench.sees(second)).accepted_at)
    await worker.ends(got[first.id], HandBack())
    await _oldest_is(bench, accepted)


async def _oldest_is(bench: Bench, accepted: float | None) -> None:
    told: float | None = None

    async def right() -> bool:
        nonlocal told
        told = (await bench.view.stats()).lanes["job"].oldest_at
        return told == accepted

    try:
        await bench.until("", right)
    except Broken:
        raise Broken(f"acceptance of the oldest: expected {accepted}, got {told}") from None


async def _age(bench: Bench) -> float:
    stats = await bench.view.stats()
    return stats.at - (stats.lanes["job"].oldest_at or 0.0)


@case("L122", needs=VIEW)
async def looking_changes_nothing(bench: Bench) -> None:
    """However often tasks are found, listed and counted, and lines, workers and limits shown:
    no task, no attempt and no token changes, nothing is taken, and no event comes of it."""
    claimed = bench.harness.capabilities.abilities
    worker = await bench.worker()
    parks = {"key": "k"} if Ability.LIMITS in claimed else {}
    tasks = [await bench.submit(**parks) for _ in range(3)]
    states = [State.PENDING, State.PROCESSING, State.PENDING]
    await worker.ends(await worker.one(), Parked() if parks else HandBack())
    got = [await worker.one("job"), *[await _of(bench, worker, n) for n in ("done", "failed")]]
    await worker.ends(got[1])
    await worker.ends(got[2], Failed(OOPS))
    if Ability.DELAY in claimed:
        tasks.append(await bench.submit(delay=60.0))
        states.append(State.SCHEDULED)
    tasks += [one.task for one in got[1:]]
    states += [State.SUCCESS, State.FAILED]
    if not parks:
        states[:2] = State.PROCESSING, State.PENDING  # what was handed back is in front again
    pairs = zip(tasks, states, strict=True)
    before = [await bench.sees(task, state=state) for task, state in pairs]
    if Ability.EVENTS in claimed:
        async with Listener(bench).open() as listener:
            await _look(bench, tasks)
            last = await bench.submit("last")
            events = await listener.until(last, EventName.ACCEPTED)
        same({event.id for event in events}, {last.id}, "tasks that anything happened to")
    else:
        await _look(bench, tasks)
    same([await bench.info(task) for task in tasks], before, "the tasks, after all the looks")
    same(await worker.told(got[0]), Hold.KEPT, "what a heartbeat says of what is held")


async def _of(bench: Bench, worker: Worker, type: str) -> Delivery:
    await bench.submit(type, max_retry=0)
    return await worker.one(type)


async def _look(bench: Bench, tasks: Sequence[Task]) -> None:
    filters = [Filter(), *(Filter(states=frozenset({state})) for state in State)]
    filters.append(Filter(lanes=frozenset({"job"}), types=frozenset({"job"})))
    for _ in range(3):
        await bench.view.find([task.id for task in tasks])
        for one in filters:
            await every_task(bench, one)
        await bench.view.list(Filter(), None, 1)
        await bench.view.stats()
        await bench.view.workers()
        await bench.view.schedules()
        await bench.queue.parked(["job"], None, 10)
        await bench.queue.describe()
        if Ability.LIMITS in bench.harness.capabilities.abilities:
            await bench.semaphore.inspect(["k"])


#: Names of tasks, each of which a pattern made of another one would match.
ALIKE = ("a_c", "abc", "a.c", "a-c", "a_cd", "a")


@case("L123", needs=VIEW | {Ability.CANCEL})
async def purge_is_exact(bench: Bench) -> None:
    """A purge concerns one task: none whose id begins alike, or would fit it as a pattern, none
    of its lane, its key or another type, waiting or ended."""
    keyed = {"key": "k"} if Ability.LIMITS in bench.harness.capabilities.abilities else {}
    live = [await bench.submit(name=name, **keyed) for name in ALIKE]
    live.append(await bench.submit("other", lane="job", name=ALIKE[0]))
    final = [await bench.submit("final", name=name) for name in ALIKE]
    worker = await bench.worker()
    for delivery in await worker.take(len(final), "final"):
        await worker.ends(delivery)
    same((await bench.control(Purge("job:a_")))[0].did, Did.UNKNOWN, "answer for a part of an id")
    await bench.does(Purge(live[0].id))
    await bench.does(Purge(final[0].id))
    await bench.sees(live[0], state=State.CANCELED, reason="purged")
    await bench.forgets(final[0])
    for task in live[1:]:
        await bench.sees(task, state=State.PENDING)
    for task in final[1:]:
        await bench.sees(task, state=State.SUCCESS)
    got = await worker.take(len(live) - 1, "job")
    same({one.task.id for one in got}, {task.id for task in live[1:]}, "tasks delivered")
    await worker.none("deliveries of what was purged")


@case("L124", needs=VIEW)
async def records_expire(bench: Bench) -> None:
    """A task that ended is forgotten when its time is over, by success or failure, and not
    before; others stay, those that wait for however long; the ledger keeps them all."""
    ttl = 0.5 * bench.scale
    short = {"result_ttl": ttl, "failure_ttl": ttl, "max_retry": 0}
    tasks = {
        name: await bench.submit(name, **(short if name != "kept" else {}))
        for name in ("waits", "good", "bad", "kept")
    }
    worker = await bench.worker()
    before = bench.clock()
    await worker.ends(await worker.one("kept"))
    await worker.ends(await worker.one("good"))
    await worker.ends(await worker.one("bad"), Failed(OOPS))
    seen = [await bench.info(tasks[name]) for name in ("good", "bad")]
    if bench.clock() - before < ttl:
        holds(all(seen), "what has ended is shown until its time is over")
    await bench.passes(ttl)
    for name in ("good", "bad"):
        await bench.forgets(tasks[name])
    await bench.sees(tasks["waits"], state=State.PENDING)
    await bench.sees(tasks["kept"], state=State.SUCCESS)
    total = (await bench.view.stats()).total()
    same((total.success, total.failed, total.pending), (2, 1, 1), "ended and waiting tasks")


@case("L125", needs=VIEW)
async def who_lives(bench: Bench) -> None:
    """A worker that beats shows as alive, with how long ago that was; one that fell silent shows
    so once its lease is over, not before, until it is gone; one that left is not listed."""
    alive = await bench.worker("alive", lease=bench.short)
    left = await bench.worker("left")
    await left.beat(leaving=True)
    dead = await bench.worker("dead", lease=bench.short)
    await dead.die()
    since = bench.clock()
    await dead.beat()

    async def silent() -> bool:
        info = (await _workers(bench)).get(dead.id)
        return info is None or not info.alive

    told: WorkerInfo | None = None

    async def listed() -> bool:
        nonlocal told
        told = (await _workers(bench)).get(dead.id)
        return told is not None or bench.clock() - since >= bench.short

    await bench.passes(0.1)
    await bench.until("a worker that has registered is listed", listed)
    if told is not None:
        over = bench.clock() - since >= bench.short
        holds(told.alive or over, "a worker is alive while its lease lasts")
        if told.alive:
            between(told.seen_ago, 0.05, bench.clock() - since, "seconds since its heartbeat")
    detection = bench.harness.capabilities.failure_detection * bench.scale
    await bench.until("the silent worker shows as dead", silent, 0.5 + detection + 1.0)
    holds(bench.clock() - since >= bench.short - 0.01, "it was alive as long as its lease")

    async def only_the_living() -> bool:
        found = await _workers(bench)
        info = found.get(alive.id)
        return bool(info and info.alive and info.seen_ago < bench.short and left.id not in found)

    await bench.until("who beats is listed as alive, and who left is not", only_the_living)


async def _workers(bench: Bench) -> dict[str, WorkerInfo]:
    return {one.beat.worker: one for one in await bench.view.workers()}
