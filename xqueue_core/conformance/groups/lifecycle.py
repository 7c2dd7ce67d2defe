"""A: opening again and again, beside others, after a stop, and while the broker is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from xqueue_core.abc import TaskView
from xqueue_core.calls import Ability, Put, Want
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.engine import Runs, working
from xqueue_core.conformance.listener import Listener
from xqueue_core.context import Context
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.task import EventName, State, Task
from xqueue_core.views import Filter


@case("A1")
async def open_and_close(bench: Bench) -> None:
    """Opening and closing again and again, one inside another, changes nothing: an opening that
    ends leaves the others open, and what was put stays, once."""
    for _ in range(3):
        async with bench.opening() as outer:
            async with bench.opening() as inner:
                await bench.accept(bench.task(), queue=inner.queue)
            await bench.accept(bench.task(), queue=outer.queue)
    await bench.submit()
    worker = await bench.worker()
    same(len({one.task.id for one in await worker.take(7)}), 7, "different tasks delivered")
    await worker.none("more deliveries")


@case("A2")
async def nothing_to_prepare(bench: Bench) -> None:
    """No lane need be made beforehand: of one that nobody has used there is nothing to take or
    to see, and a worker that waits there gets the first task that is put."""
    worker = await bench.worker()
    await worker.none("deliveries from a lane that nobody has used", "unheard")
    same((await worker.ask([Want("unheard", 0)], 0)).ready, [], "lanes that have work")
    same(list((await bench.queue.parked(["unheard"], None, 10)).items), [], "its lines")
    if Ability.VIEW in bench.harness.capabilities.abilities:
        same(await bench.info("unheard:t1"), None, "a task that nobody has put")
        listed = await bench.view.list(Filter(lanes=frozenset({"unheard"})), None, 10)
        same((list(listed.items), listed.next), ([], None), "tasks listed")
    waiting = bench.start(worker.one, "unheard")
    await anyio.sleep(0.05)
    task = await bench.submit("unheard")
    same((await waiting.done()).task.id, task.id, "task delivered")


@case("A6", needs={Ability.VIEW}, deadline=40.0)
async def starts_anew(bench: Bench) -> None:
    """A worker's engine that was stopped goes on when it is started anew: with what it had not
    started, and with nothing that it had ended."""
    runs, gate = Runs(), anyio.Semaphore(0)
    await bench.submit_many(6)

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            await gate.acquire()

    async def given_back() -> bool:
        return (await bench.view.stats()).total().processing == 1

    async def all_ran() -> bool:
        return (len(runs.started), runs.now) == (6, 0)

    async with working(bench, job, concurrency=1, prefetch=2) as engine:
        await runs.are(bench, 1)
        engine.stop()
        await bench.until("nothing but what runs is held", given_back, 10.0)
        for _ in range(6):
            gate.release()
        await bench.until("it has ended", _is_set(engine.ended), 10.0)
    same((len(runs.started), runs.canceled), (1, 0), "tasks started before, and canceled ones")
    async with working(bench, job, concurrency=1, prefetch=2):
        await bench.until("every task has run", all_ran, 10.0)
    same(set(runs.started.values()), {1}, "runs of each task")
    await (await bench.worker()).none("deliveries in the end")


def _is_set(event: threading.Event) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return event.is_set()

    return look


@case("A7", needs={Ability.VIEW})
async def no_worker_by_putting(bench: Bench) -> None:
    """Who only puts, looks and listens is no worker: none shows, and nothing is taken."""
    async with bench.opening() as faces:
        tasks = [bench.task() for _ in range(3)]
        await bench.accept(*tasks, queue=faces.queue)
        view = faces.needed("view")
        await view.find([tasks[0].id])
        if Ability.EVENTS in bench.harness.capabilities.abilities:
            async with Listener(bench, faces.needed("notifier")).open() as listener:
                tasks.append(await bench.submit())
                await listener.until(tasks[-1], EventName.ACCEPTED)
        same(list(await view.workers()), [], "workers that show")
    for task in tasks:
        await bench.sees(task, state=State.PENDING, attempt=0)
    got = await (await bench.worker()).take(len(tasks))
    same({(one.attempt, one.losses) for one in got}, {(1, 0)}, "attempts and losses")


@case("A8")
async def namespaces_apart(bench: Bench) -> None:
    """Two namespaces of one broker, open in one process, share nothing: ids, tasks, workers,
    limits, events and counts of one do not show in the other."""
    claimed = bench.harness.capabilities.abilities
    async with bench.opening(beside="-b") as other:
        ours = await bench.submit(name="same", payload=b'{"whose":"ours"}')
        theirs = Task(id=ours.id, lane=ours.lane, payload=b'{"whose":"theirs"}')
        [answer] = await other.queue.put([theirs])
        same(answer.put in (Put.NEW, Put.UNDECIDED), True, f"{answer}: a put of the same id")
        here = await bench.worker()
        there = await bench.worker(queue=other.queue)
        for worker, task in ((here, ours), (there, theirs)):
            got = await worker.one()
            same(got.task.payload, task.payload, "payload of the task delivered")
            await worker.none("deliveries of the other's task")
        if Ability.VIEW in claimed:
            view = other.needed("view")
            await bench.until("the one task there is counted", partial(_counts, view, 1))
            same([one.beat.worker for one in await view.workers()], [there.id], "workers there")
        if Ability.LIMITS in claimed:
            await Desk(bench).limit("k", 1)
            [info] = await other.needed("semaphore").inspect(["k"])
            same((info.limit, info.holders), (None, {}), "limit and holders there")
        if Ability.EVENTS in claimed:
            async with Listener(bench).open() as listener:
                await other.queue.put([Task(id="job:foreign", lane="job")])
                mine = await bench.submit()
                await listener.until(mine, EventName.ACCEPTED)
            same({event.id for event in listener.events}, {mine.id}, "tasks of the events here")


async def _counts(view: TaskView, accepted: int) -> bool:
    return (await view.stats()).total().accepted == accepted


@case("A9")
async def tells_of_itself(bench: Bench) -> None:
    """``describe`` answers within a second, in JSON types, in each opening, whether or not there
    is work: it tells operators that the broker is there."""
    async with bench.opening() as faces:
        for queue in (bench.queue, faces.queue):
            with anyio.fail_after(1.0 * bench.scale):
                told = dict(await queue.describe())
            same(json.loads(json.dumps(told)), told, "what describe tells, there and back in JSON")
            await bench.submit()
    await (await bench.worker()).take(2)


@case("A9b", needs={Ability.DEDUPE}, traits={"restart"}, deadline=60.0, alone=True)
async def outage_shows(bench: Bench) -> None:
    """While the broker is restarted calls raise Unavailable or Unknown, and nothing else, also
    one that opens; within 3 s of its return they succeed, and what was accepted is there."""
    tasks: list[Task] = []
    await bench.rest()

    async def calls() -> None:
        while True:
            await _put_anyhow(bench, tasks)
            await anyio.sleep(0.01)

    calling = bench.start(calls)
    await anyio.sleep(0.05)
    await bench.harness.restart()
    before = bench.clock()
    await calling.stop()

    async def back() -> bool:
        return await _put_anyhow(bench, tasks)

    await bench.until("a put succeeds again", back, within=3.0)
    async with bench.opening() as faces:
        await faces.queue.describe()
    between(bench.clock() - before, 0.0, 3.0 * bench.scale + 1.0, "seconds until all is well")
    await bench.put_in_doubt(*tasks)
    got = await (await bench.worker()).take(len(tasks))
    same({one.task.id for one in got}, {task.id for task in tasks}, "tasks delivered")


async def _put_anyhow(bench: Bench, tasks: list[Task]) -> bool:
    """Put a task, whose acceptance is counted later; True if the call succeeded."""
    tasks.append(bench.task())
    try:
        await bench.queue.put(tasks[-1:])
    except (Unavailable, Unknown):
        return False
    return True
