"""A: what is left of an opening that has ended, and of what was under way when it did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from xqueue_core.abc import Faces
from xqueue_core.calls import Ability, Cancel, Hold, Put, Settled, Want
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, between, holds, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.leaks import Traces
from xqueue_core.conformance.listener import Listener
from xqueue_core.conformance.worker import Worker, ended
from xqueue_core.errors import BrokerError, LeaseLost, Refused
from xqueue_core.permits import Permit
from xqueue_core.task import Event, EventName, State, Task
from xqueue_core.views import Filter

#: Seconds within which an opening ends, whatever goes on in it.
CLOSES = 5.0
#: How often the backend is opened and closed to see what is left. A pool of threads may grow by
#: less than that.
OPENINGS = 12


@case("A3")
async def use_after_close(bench: Bench) -> None:
    """After an opening has ended each call of its faces raises Refused, though others have the
    same broker open; nothing of it happens, and what its worker held stays as it was."""
    await bench.submit()
    late = bench.task()
    async with bench.opening() as faces:
        worker = await bench.worker("closed", queue=faces.queue)
        delivery = await worker.one()
    settle = [ended(delivery, None)]
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: faces.queue.put([late]),
        "lease": lambda: faces.queue.lease([Want("job", 1)], 1, worker.call + 1, worker.id, 0.0),
        "settle": lambda: faces.queue.settle(settle),
        "extend": worker.beat,
    } | _more_calls(bench, faces, delivery.task)
    for name, call in calls.items():
        await _refuses(name, call)
    worker.queue = bench.queue
    same(await worker.told(delivery), Hold.KEPT, "what a heartbeat says of the delivery")
    await (await bench.worker()).none("deliveries of what was put after the end")
    same(await worker.settle(delivery), Settled.APPLIED, "answer to the settle")


def _more_calls(
    bench: Bench, faces: Faces, task: Task
) -> dict[str, Callable[[], Awaitable[object]]]:
    """The calls that need an ability, as far as the backend claims it."""
    calls: dict[Ability, dict[str, Callable[[], Awaitable[object]]]] = {
        Ability.CANCEL: {"control": lambda: faces.queue.control([Cancel(task.id)])},
    }
    if (view := faces.view) is not None:
        calls[Ability.VIEW] = {
            "find": lambda: view.find([task.id]),
            "list": lambda: view.list(Filter(), None, 1),
            "stats": view.stats,
            "workers": view.workers,
        }
    if (semaphore := faces.semaphore) is not None:
        wish = Desk(bench, "late").wish("k")
        permit = Permit(wish.id, "k", 1)
        calls[Ability.LIMITS] = {
            "acquire": lambda: semaphore.acquire([wish], 0.0),
            "renew": lambda: semaphore.renew(wish.worker, [permit], [], 15.0),
            "release": lambda: semaphore.release([permit]),
            "set_limit": lambda: semaphore.set_limit("k", 1),
            "inspect": lambda: semaphore.inspect(["k"]),
        }
    if (notifier := faces.notifier) is not None:
        calls[Ability.EVENTS] = {
            "publish": lambda: notifier.publish([_progress(task)]),
            "subscribe": lambda: _first(notifier.subscribe(Filter())),
        }
    claimed = bench.harness.capabilities.abilities
    return {
        name: call
        for ability, some in calls.items()
        if ability in claimed
        for name, call in some.items()
    }


async def _refuses(name: str, call: Callable[[], Awaitable[object]]) -> None:
    try:
        answer = await call()
    except Refused:
        return
    except Exception as error:
        raise Broken(f"{name} after the end raised {error!r}, not Refused") from error
    raise Broken(f"{name} after the end was answered: {answer!r}")


async def _first(stream: AsyncIterator[object]) -> object:
    async for notice in stream:
        return notice
    return None


def _progress(task: Task) -> Event:
    return Event(task.id, 2, EventName.PROGRESS, State.PROCESSING, 0.0, task.lane, data={"n": 1})


@case("A4")
async def kept_after_close(bench: Bench) -> None:
    """What was accepted, and the progress that was published, is there though the opening ended
    at once."""
    tasks = [bench.task() for _ in range(20)]
    if Ability.EVENTS not in bench.harness.capabilities.abilities:
        async with bench.opening() as faces:
            await bench.accept(*tasks, queue=faces.queue)
    else:
        async with Listener(bench).open() as listener:
            async with bench.opening() as faces:
                await bench.accept(*tasks, queue=faces.queue)
                await faces.needed("notifier").publish([_progress(tasks[-1])])
            await listener.until(tasks[-1], EventName.PROGRESS)
    got = await (await bench.worker()).take(20)
    same({one.task.id for one in got}, {task.id for task in tasks}, "tasks delivered")


@case("A4b", needs={Ability.DEDUPE})
async def under_way_at_close(bench: Bench) -> None:
    """A put that is under way when its opening ends succeeds, and then the task is there, or it
    raises a BrokerError, and can be repeated; either way there is one task."""
    tasks = [bench.task() for _ in range(30)]
    unsure: list[Task] = []

    async def put(faces: Faces, task: Task) -> None:
        try:
            [answer] = await bench.put(task, queue=faces.queue)
        except BrokerError:
            unsure.append(task)
        else:
            same(answer.put in (Put.NEW, Put.UNDECIDED), True, f"{answer} is an acceptance")

    for turn in range(3):
        async with bench.opening() as faces:
            mine = tasks[10 * turn : 10 * turn + 10]
            running = [bench.start(put, faces, task) for task in mine]
            await anyio.sleep(0.001 * turn)
        with anyio.fail_after(CLOSES * bench.scale):
            for one in running:
                await one.done()
    await bench.put_in_doubt(*unsure)
    worker = await bench.worker()
    got = {one.task.id for one in await worker.take(30)}
    same(got, {task.id for task in tasks}, "tasks delivered")
    await worker.none("more deliveries")


@case("A5", deadline=30.0)
async def closed_at_once(bench: Bench) -> None:
    """Ten openings, in each of which a worker waits for work, end at the same moment and soon;
    what waited takes nothing any more, and the others go on."""
    wait = 1.0 * bench.scale
    waiting = []
    open_, go = anyio.Semaphore(0), anyio.Event()

    async def one() -> None:
        async with bench.opening() as faces:
            worker = await bench.worker("closed", queue=faces.queue)
            waiting.append(bench.start(_waits, worker, wait))
            open_.release()
            await go.wait()

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one)
        for _ in range(10):
            await open_.acquire()
        survivor = await bench.worker("survivor")
        await anyio.sleep(0.05)
        before = bench.clock()
        go.set()
    between(bench.clock() - before, 0.0, CLOSES * bench.scale, "seconds until all had ended")
    task = await bench.submit()
    same((await survivor.one()).task.id, task.id, "task delivered to another")
    with anyio.fail_after(CLOSES * bench.scale + wait):
        taken = [await one.done() for one in waiting]
    same(taken, [[]] * 10, "what was taken in openings that had ended")


async def _waits(worker: Worker, wait: float) -> list[str]:
    """What a call of ``lease`` takes, whose opening ends meanwhile."""
    try:
        return [one.task.id for one in await worker.lease(wait=wait)]
    except (BrokerError, LeaseLost):
        return []


@case("A10", alone=True, deadline=40.0)
async def leaves_nothing(bench: Bench) -> None:
    """Openings that were used and have ended leave no thread, no task of the event loop and no
    open file or socket behind."""
    await _used(bench)
    traces = Traces()
    for _ in range(OPENINGS):
        await _used(bench)

    async def gone() -> bool:
        return not traces.left(OPENINGS)

    try:
        await bench.until("", gone)
    except Broken:
        left = traces.left(OPENINGS)
        raise Broken(f"{OPENINGS} openings left behind: {left}") from None


async def _used(bench: Bench) -> None:
    """Open the backend in a namespace that is open nowhere else, use what it has, close it."""
    claimed = bench.harness.capabilities.abilities
    async with bench.opening(beside="-left") as faces:
        await faces.queue.put([Task(id=f"job:{bench.number()}", lane="job")])
        worker = await bench.worker(queue=faces.queue)
        await worker.ends(await worker.one())
        await worker.none("more deliveries", wait=0.02)
        if Ability.LIMITS in claimed:
            await faces.needed("semaphore").acquire([Desk(bench).wish("k")], 0.0)
        if Ability.EVENTS in claimed:
            stream = faces.needed("notifier").subscribe(Filter(), None)
            with anyio.move_on_after(0.02):
                await _first(stream)
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()
        await worker.beat(leaving=True)
    holds(worker.queue is faces.queue, "the worker used the opening that has ended")
