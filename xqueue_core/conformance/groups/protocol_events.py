"""P4.4, P4.5: every transition is an event, and the ledger balances."""

from __future__ import annotations

from xqueue_core.calls import Ability, Cancel, Purge, Replay, Unpark
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, same
from xqueue_core.conformance.listener import Listener
from xqueue_core.task import Event, EventName, Failed, HandBack, Parked, RetryAt, State, Task
from xqueue_core.views import Filter

EVENTS = {Ability.EVENTS}
ALL = EVENTS | {Ability.LIMITS, Ability.CANCEL, Ability.ATTEMPTS, Ability.DELAY, Ability.VIEW}


@case("P4.4a", needs=ALL)
async def every_transition(bench: Bench) -> None:
    """Every transition of a task is an event, in order, numbered without a gap from 1, with the
    state, attempt, token and worker it led to."""
    async with Listener(bench).open() as listener:
        task = await bench.submit(key="k", delay=0.1)
        worker = await bench.worker()
        await worker.ends(await worker.one(), RetryAt(0.1, OOPS))
        await worker.ends(await worker.one(), HandBack())
        await worker.ends(await worker.one(), Parked())
        await bench.does(Unpark("job", "k", 1))
        last = await worker.one()
        await bench.control(Cancel(task.id, "enough"))
        await worker.ends(last, Failed(OOPS))
        await bench.does(Replay(task.id, "wish"))
        await worker.ends(await worker.one())
        await bench.does(Purge(task.id))
        events = await listener.of(task, EventName.EXPUNGED)
    names = [event.name.value for event in events]
    expected = (
        "accepted due leased retry due leased handed_back leased parked unparked leased "
        "cancel_requested finished replayed leased finished expunged"
    )
    same(names, expected.split(), "events")
    same([event.seq for event in events], list(range(1, len(events) + 1)), "their numbers")
    ends = [event.state for event in events if event.name is EventName.FINISHED]
    same(ends, [State.CANCELED, State.SUCCESS], "states of the two ends")
    leased = [event for event in events if event.name is EventName.LEASED]
    same([event.attempt for event in leased], [1, 2, 2, 2, 1], "attempts")
    same(len({event.delivery for event in leased}), 5, "number of different tokens")
    same({event.worker for event in leased}, {worker.id}, "worker")
    same({(event.lane, event.type) for event in events}, {("job", "job")}, "lane and type")


@case("P4.4b", needs=EVENTS)
async def resume(bench: Bench) -> None:
    """A subscription that goes on behind a cursor, in another process and after the first has
    gone, misses nothing and repeats nothing."""
    tasks: list[Task] = []
    worker = await bench.worker()
    async with Listener(bench).open() as first:
        for _ in range(10):
            tasks.append(await bench.submit())
            await worker.ends(await worker.one())
        cursor, seen = await first.stop_after(12)
    for _ in range(5):
        tasks.append(await bench.submit())
        await worker.ends(await worker.one())
    notifier = (await bench.another()).needed("notifier")
    async with Listener(bench, notifier, after=cursor).open() as second:
        events = seen + await second.until(tasks[-1], EventName.FINISHED)
    for task in tasks:
        seqs = [event.seq for event in events if event.id == task.id]
        same(seqs, [1, 2, 3], f"numbers of the events of {task.id}")


@case("P4.4c", needs=EVENTS, settings={"event_retention": 0.3})
async def gap(bench: Bench) -> None:
    """Where events beyond the retention are gone one notice without an event marks the gap, and
    what is still there follows it."""
    worker = await bench.worker()
    async with Listener(bench).open() as listener:
        await listener.of(await bench.submit(), EventName.ACCEPTED)
        cursor = listener.cursor
    await worker.ends(await worker.one())

    async def marked() -> bool:
        await bench.passes(0.3)
        # A worker that has just started is sure to find something to trim.
        await (await bench.another()).queue.maintain(0.1)
        task = await bench.submit()
        await worker.ends(await worker.one())
        async with Listener(bench, after=cursor).open() as late:
            await late.until(task, EventName.FINISHED)
        return late.gaps == 1

    await bench.until("a gap is marked", marked, within=10.0)


@case("P4.4d", needs=EVENTS | {Ability.VIEW})
async def event_and_state_agree(bench: Bench) -> None:
    """When an event has been seen, a reader finds the task in that state or a later one."""
    worker = await bench.worker()
    async with Listener(bench).open() as listener:
        for _ in range(10):
            task = await bench.submit()
            await worker.ends(await worker.one())
            event = (await listener.of(task, EventName.FINISHED))[-1]
            await bench.sees(task, state=event.state, seq=event.seq, within=1.0)


@case("P4.4e", needs=EVENTS)
async def filters(bench: Bench) -> None:
    """A subscription gets what its filter asks for and nothing else."""
    worker = await bench.worker()
    only = Filter(types=frozenset({"a", "marker"}), names=frozenset({EventName.FINISHED}))
    async with Listener(bench).open() as everything:
        tasks = [await bench.submit("a"), await bench.submit("b"), await bench.submit("a")]
        start = everything.first
        for delivery in await worker.take(3):
            await worker.ends(delivery)
        for task in tasks:
            await everything.of(task, EventName.FINISHED)
    async with Listener(bench, after=start, filter=only).open() as listener:
        await listener.of(tasks[2], EventName.FINISHED)
        await listener.of(tasks[0], EventName.FINISHED)
        found = {(event.type, event.name) for event in listener.events}
    same(found, {("a", EventName.FINISHED)}, "types and names of events")


@case("P4.4f", needs=EVENTS)
async def progress(bench: Bench) -> None:
    """What a handler publishes reaches subscribers, with the number of the transition it
    follows; it does not count as a transition."""
    task = await bench.submit()
    worker = await bench.worker()
    delivery = await worker.one()
    event = Event(
        task.id,
        2,
        EventName.PROGRESS,
        State.PROCESSING,
        0.0,
        "job",
        1,
        delivery.token,
        worker.id,
        data={"percent": 50.0, "message": "half"},
    )
    async with Listener(bench).open() as listener:
        await bench.notifier.publish([event])
        got = (await listener.of(task, EventName.PROGRESS))[-1]
        await worker.ends(delivery)
        end = (await listener.of(task, EventName.FINISHED))[-1]
    same((got.data, got.seq), (event.data, 2), "data and number")
    same(end.seq, 3, "number of the next transition")


@case("P4.5a", needs=ALL | {Ability.DEDUPE})
async def conserved(bench: Bench) -> None:
    """accepted + replayed = live + final, by type and lane, through every kind of end, and also
    when the records are gone; duplicates are counted apart."""
    worker = await bench.worker()
    tasks = await bench.submit_many(6, max_retry=0, failure_ttl=0.0, result_ttl=0.0)
    await bench.put(*tasks[:3])
    got = await worker.take(6)
    for delivery, outcome in zip(
        got, (None, Failed(OOPS), RetryAt(0.0, OOPS), HandBack(), Parked(), None), strict=True
    ):
        await worker.ends(delivery, outcome)
    keep = await bench.submit("keep", max_retry=0)
    await worker.ends(await worker.one("keep"), Failed(OOPS))
    await bench.does(Replay(keep.id, "wish"))
    await bench.control(*(Cancel(task.id) for task in tasks))
    for task in tasks:
        await bench.forgets(task)
    await bench.sees(keep, state=State.PENDING)
    total = (await bench.view.stats()).total()
    same((total.accepted, total.replayed, total.duplicates), (7, 1, 3), "accepted to duplicates")
    same((total.live, total.final), (1, 7), "live and final")
    holds(total.conserved, "the ledger balances")


@case("P4.5b", needs={Ability.VIEW}, traits={"durable"}, alone=True)
async def ledger_survives(bench: Bench) -> None:
    """Tasks, results and the ledger survive that everything is closed and opened again."""
    done, waits = await bench.submit_many(2)
    worker = await bench.worker()
    await worker.ends(await worker.one())
    before = (await bench.view.stats()).total()
    await bench.reopen(restart="restart" in bench.harness.traits)
    same((await bench.view.stats()).total(), before, "the ledger")
    await bench.sees(done, state=State.SUCCESS)
    await bench.sees(waits, state=State.PENDING)
    same((await (await bench.worker()).one()).task.id, waits.id, "task delivered")
