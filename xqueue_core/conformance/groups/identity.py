"""H: ids, cancel, results and the story a reader is told."""

from __future__ import annotations

import anyio

from xqueue_core.calls import Ability, Cancel, Did, Hold, Purge, Put, Replay
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, same
from xqueue_core.task import Canceled, HandBack, Parked, RetryAt, State, Success

DEDUPE = {Ability.DEDUPE}


@case("H80", needs=DEDUPE)
async def same_id(bench: Bench) -> None:
    """The same id put twice, whatever its payload, at once or later, is one task."""
    processes = [bench.faces, await bench.another()]

    async def put(n: int) -> None:
        task = bench.task(name="same", payload=b"%d" % n)
        answer = (await bench.put(task, queue=processes[n % 2].queue))[0]
        if answer.put is Put.DUPLICATE:
            same(answer.of, task.id, "the task a duplicate is of")

    async with anyio.create_task_group() as group:
        for n in range(10):
            group.start_soon(put, n)
    same((sum(bench.new.values()), bench.duplicates), (1, 9), "NEW and DUPLICATE answers")
    worker = await bench.worker()
    await worker.ends(await worker.one())
    await put(11)
    same(bench.duplicates, 10, "DUPLICATE answers after its end")
    await worker.none("deliveries of the same id")


@case("H80b", needs=DEDUPE)
async def twice_in_a_call(bench: Bench) -> None:
    """The same id twice in one call is one task as well; other types do not share ids."""
    a, b = bench.task(name="same"), bench.task(name="same")
    other = bench.task("other", name="same")
    answers = await bench.put(a, b, other)
    same([one.put for one in answers], [Put.NEW, Put.DUPLICATE, Put.NEW], "answers")
    same(len(await (await bench.worker()).take(2)), 2, "deliveries")


@case("H81", needs=DEDUPE)
async def repeated_call(bench: Bench) -> None:
    """A put that is repeated as a whole, because nobody knows what became of it, adds nothing."""
    tasks = [bench.task() for _ in range(20)]
    for n in range(5):
        with anyio.move_on_after(0.001 * n):
            await bench.queue.put(tasks)
    await bench.put_in_doubt(*tasks)
    got = await (await bench.worker()).take(20)
    same(len({one.task.id for one in got}), 20, "tasks delivered")
    await (await bench.worker("other")).none("more deliveries")


@case("H82", needs=DEDUPE, settings={"dedupe_horizon": 2.0, "client_retry": 0.5})
async def horizon(bench: Bench) -> None:
    """An id is remembered for the dedupe horizon, longer than its result; not for ever."""
    task = await bench.submit(result_ttl=0.0)
    accepted = bench.clock()
    worker = await bench.worker()
    await worker.ends(await worker.one())
    await bench.passes(0.7)
    if bench.clock() - accepted < 2.0:
        same((await bench.put(task))[0].put, Put.DUPLICATE, "the same id within the horizon")

    async def new() -> bool:
        return (await bench.put(task))[0].put is Put.NEW

    await bench.passes(1.5)
    await bench.until("the id is forgotten", new, within=4.0)


@case("H83", needs={Ability.CANCEL, Ability.VIEW})
async def cancel_everywhere(bench: Bench) -> None:
    """A queued, delayed or parked task that is canceled never starts; a running one is told by
    the next heartbeat; the reason is kept."""
    claimed = bench.harness.capabilities.abilities
    worker = await bench.worker()
    waiting = [await bench.submit("queued")]
    if Ability.LIMITS in claimed:
        waiting.append(await bench.submit("parked", key="k"))
        await worker.ends(await worker.one("parked"), Parked())
    if Ability.DELAY in claimed:
        waiting.append(await bench.submit("delayed", delay=0.2))
    running = await bench.submit("running")
    delivery = await worker.one("running")
    for task in waiting:
        await bench.does(Cancel(task.id, "not wanted"))
    await bench.does(Cancel(running.id, "not wanted"), Did.REQUESTED)
    same(await worker.told(delivery), Hold.CANCELED, "what the heartbeat says")
    info = await bench.sees(running, state=State.PROCESSING, cancel_requested=True)
    same(info.reason in ("", "not wanted"), True, "reason of the running task")
    await worker.ends(delivery, Canceled())
    for task in [*waiting, running]:
        await bench.sees(task, state=State.CANCELED, reason="not wanted")
    await worker.none("deliveries of what was canceled", wait=0.4)


@case("H83b", needs={Ability.CANCEL})
async def cancel_again(bench: Bench) -> None:
    """Cancel may be repeated; of a task that has ended or that nobody knows it does nothing."""
    task = await bench.submit()
    worker = await bench.worker()
    delivery = await worker.one()
    for _ in range(2):
        await bench.does(Cancel(task.id), Did.REQUESTED)
    await worker.ends(delivery)
    await bench.does(Cancel(task.id), Did.FINAL)
    await bench.does(Cancel("job:nobody"), Did.UNKNOWN)


@case("H83c", needs={Ability.CANCEL, Ability.VIEW})
async def purge(bench: Bench) -> None:
    """Purging a task that has not ended cancels it, reason ``purged``; one that has is forgotten;
    the ledger keeps both."""
    live, running, final = [await bench.submit(name) for name in ("live", "running", "final")]
    worker = await bench.worker()
    delivery = await worker.one("running")
    await worker.ends(await worker.one("final"))
    await bench.does(Purge(live.id))
    await bench.does(Purge(running.id), Did.REQUESTED)
    await bench.does(Purge(final.id))
    await bench.does(Purge("job:nobody"), Did.UNKNOWN)
    await worker.ends(delivery, HandBack(ran=True))
    for task in (live, running):
        await bench.sees(task, state=State.CANCELED, reason="purged")
    await bench.forgets(final)
    await worker.none("deliveries of what was purged")


@case("H83d", needs={Ability.CANCEL, Ability.VIEW})
async def purge_of_what_was_seen(bench: Bench) -> None:
    """A purge of a task as it was seen does nothing once more has happened to the task. Repeated
    after a lost reply it says the same again, and does not forget what it has canceled."""
    task = await bench.submit(max_retry=0)
    worker = await bench.worker()
    await bench.fail_for_good(worker)
    failed = (await bench.sees(task, state=State.FAILED)).seq
    await bench.does(Replay(task.id, "wish"))
    await bench.does(Purge(task.id, seq=failed), Did.CHANGED)
    waits = (await bench.sees(task, state=State.PENDING)).seq
    for _ in range(2):
        await bench.does(Purge(task.id, seq=waits))
    ended = await bench.sees(task, state=State.CANCELED, reason="purged")
    await bench.does(Purge(task.id, seq=ended.seq))
    await bench.forgets(task)


@case("H83e", needs={Ability.CANCEL, Ability.VIEW})
async def wish_again(bench: Bench) -> None:
    """One wish to cancel or to purge, repeated, says again what it did, whatever has happened
    since, and has no second effect; another wish does not pass for it."""
    waits, runs, ends, live = [
        await bench.submit(name) for name in ("waits", "runs", "ends", "live")
    ]
    worker = await bench.worker()
    delivery = await worker.one("runs")
    await worker.ends(await worker.one("ends"))
    for _ in range(2):
        await bench.does(Cancel(waits.id, request="a"))
        await bench.does(Cancel(runs.id, request="b"), Did.REQUESTED)
        await bench.does(Purge(ends.id, request="c"))
        await bench.does(Purge(live.id, request="d"))
    await worker.ends(delivery)
    await bench.does(Cancel(runs.id, request="b"), Did.REQUESTED)
    for request in ("z", ""):
        await bench.does(Cancel(waits.id, request=request), Did.FINAL)
        await bench.does(Cancel(runs.id, request=request), Did.FINAL)
        await bench.does(Purge(ends.id, request=request), Did.UNKNOWN)
    await bench.sees(runs, state=State.SUCCESS)
    await bench.sees(live, state=State.CANCELED, reason="purged")
    await bench.forgets(ends)
    await bench.does(Replay(waits.id, "wish"))
    await bench.does(Cancel(waits.id, request="a"))
    await bench.sees(waits, state=State.PENDING)
    await worker.ends(await worker.one("waits"))


@case(
    "H83f",
    needs={Ability.CANCEL, Ability.RESULTS, Ability.VIEW},
    settings={"dedupe_horizon": 1.0, "client_retry": 1.0},
)
async def late_purge_again(bench: Bench) -> None:
    """A wish to purge, repeated, says again what it did also if the task ended so long ago that its
    id is remembered no longer."""
    task = await bench.submit(result_ttl=60.0)
    worker = await bench.worker()
    await worker.ends(await worker.one())
    await bench.passes(2.5)
    for _ in range(2):
        await bench.does(Purge(task.id, request="a"))
    await bench.does(Purge(task.id, request="z"), Did.UNKNOWN)
    await bench.forgets(task)


@case("H84", needs={Ability.CANCEL, Ability.VIEW}, deadline=30.0)
async def cancel_against_lease(bench: Bench) -> None:
    """Cancel against lease: whichever is recorded first decides, and both sides agree."""
    other = await bench.another()
    worker = await bench.worker()
    for _ in range(15):
        task = await bench.submit()
        did: list[Did] = []

        async def cancel(id: str, did: list[Did]) -> None:
            did.append((await other.queue.control([Cancel(id, "race")]))[0].did)

        async with anyio.create_task_group() as group:
            group.start_soon(cancel, task.id, did)
            got = await worker.lease(wait=0.02)
        if did == [Did.APPLIED]:
            same([one.task.id for one in got], [], "deliveries of what was canceled in time")
        else:
            same(did, [Did.REQUESTED], "answer to a cancel that came after the lease")
            got = got or await worker.lease(wait=1.0)
            await worker.ends(got[0], RetryAt(0.0, OOPS))
        await bench.sees(task, state=State.CANCELED, reason="race")


@case("H85", needs={Ability.RESULTS, Ability.VIEW})
async def result(bench: Bench) -> None:
    """A result is stored once, as bytes with their type, and goes when its time is over."""
    kept = await bench.submit()
    short = await bench.submit(result_ttl=0.3)
    worker = await bench.worker()
    for delivery in await worker.take(2):
        value = Success(b"\x00\xff" + delivery.task.id.encode(), "application/octet-stream")
        await worker.ends(delivery, value)
        await worker.settle(delivery, Success(b"another"))
    info = await bench.sees(kept, state=State.SUCCESS)
    same(info.result, b"\x00\xff" + kept.id.encode(), "result")
    same(info.result_type, "application/octet-stream", "its type")
    await bench.passes(0.3)
    await bench.forgets(short)
    holds(await bench.info(kept), "a result whose time is not over is there")


@case("H86", needs={Ability.RESULTS, Ability.VIEW})
async def result_elsewhere(bench: Bench) -> None:
    """Another process finds the result as soon as the settle has returned, or soon after."""
    other = await bench.another()
    task = await bench.submit()
    worker = await bench.worker()
    await worker.ends(await worker.one(), Success(b'"done"'))
    view = other.needed("view")

    async def there() -> bool:
        info = (await view.find([task.id]))[0]
        return info is not None and info.result == b'"done"'

    await bench.until("the other process finds the result", there)


@case("H87", needs={Ability.VIEW, Ability.ATTEMPTS})
async def monotone(bench: Bench) -> None:
    """A task's sequence number grows with every change and its history only gets longer; a final
    state does not change."""
    task = await bench.submit()
    worker = await bench.worker()
    seqs: list[int] = []
    lengths: list[int] = []

    async def look() -> None:
        info = await bench.sees(task)
        seqs.append(info.seq)
        lengths.append(len(info.history))

    await look()
    got = []
    for outcome in (RetryAt(0.0, OOPS), HandBack(), None):
        got.append(await worker.one())
        await look()
        await worker.ends(got[-1], outcome)
        await look()
    await worker.settle(got[-1], HandBack())
    await worker.beat()
    end = await bench.sees(task, state=State.SUCCESS, seq=seqs[-1])
    same(seqs, sorted(set(seqs)), "sequence numbers, which ought to grow with each change")
    same(lengths, [0, 1, 1, 2, 2, 3, 3], "lengths of the history")
    same([one.how for one in end.history], ["retry", "handback", "success"], "how each ended")
