"""K: what wakes those who wait, and what happens when it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from xqueue_core.abc import Faces, Notice, Notifier, Role
from xqueue_core.calls import Ability, Cancel, Did, Put, Want
from xqueue_core.conformance.background import Background
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, holds, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.engine import App, Runs, working
from xqueue_core.conformance.listener import Listener
from xqueue_core.conformance.process import Process
from xqueue_core.conformance.worker import Worker, ended
from xqueue_core.connect import Connection
from xqueue_core.context import Context
from xqueue_core.errors import Unavailable
from xqueue_core.task import Event, EventName, HandBack, RetryAt, State, Success, Task
from xqueue_core.views import Filter

EVENTS = {Ability.EVENTS}

#: Seconds within which somebody who waits is woken, and how many of a few attempts must be.
WOKEN = 0.25
#: Seconds that a worker which was told to wait is given to begin with it.
BEGINS = 0.05
#: Seconds within which a worker that runs a task is told of a cancel (G9).
TOLD = 2.0


async def wakes(
    bench: Bench,
    what: str,
    waits: Callable[[], Awaitable[object]],
    news: Callable[[], Awaitable[object]],
) -> None:
    """Fail unless ``news`` wakes those who wait in most of three attempts."""
    late: list[float] = []
    for _ in range(3):
        waiting = bench.start(waits)
        await anyio.sleep(BEGINS)
        same(waiting.ended, False, f"whether the wait had ended before {what}")
        await news()
        patience = bench.pace.wait(WOKEN * bench.scale)
        await waiting.done()
        late.append(WOKEN * bench.scale - patience.left())
    if sorted(late)[1] > WOKEN * bench.scale:
        shown = ", ".join(f"{one:.2f}" for one in late)
        raise Broken(f"seconds until somebody was woken by {what}: {shown}, not {WOKEN:g} at most")


@case("K114")
async def woken(bench: Bench) -> None:
    """A worker that waits is woken within a quarter of a second by a put of another process, by a
    hand-back and by a retry that is due at once, also one that only wants to be told."""
    producer = (await bench.another()).queue
    one, other = await bench.worker("one"), await bench.worker("other")

    async def put() -> None:
        await bench.accept(bench.task(), queue=producer)

    await wakes(bench, "a put", one.one, put)
    retries = Ability.ATTEMPTS in bench.harness.capabilities.abilities
    ends = iter([HandBack(), RetryAt(0.0, OOPS) if retries else HandBack(), HandBack()])
    back = iter(list(one.held.values()))

    async def gives_back() -> None:
        await one.ends(next(back), next(ends))

    await wakes(bench, "a hand-back or a retry", other.one, gives_back)

    async def told() -> None:
        reply = await other.ask([Want("seldom", 0)], 1, wait=5.0 * bench.scale)
        same(reply.ready, ["seldom"], "lanes that have work")
        await one.ends(await one.one("seldom"))

    async def seldom() -> None:
        await bench.accept(bench.task("seldom"), queue=producer)

    await wakes(bench, "a put in a lane of which it wants to be told", told, seldom)


@case("K114b", traits={"shared", "spawn"}, deadline=40.0)
async def woken_across_processes(bench: Bench) -> None:
    """A worker that waits is woken as soon by a put of a real other process."""
    worker = await bench.worker()
    async with Process.started(bench, bench.short) as other:

        async def put() -> None:
            same(await other.does("put"), Put.NEW.value, "answer to the put")
            bench.new["job", "job"] += 1

        await wakes(bench, "a put of another process", worker.one, put)


@case("K115")
async def unheard(bench: Bench) -> None:
    """A wake-up that nobody heard loses nothing: what was put while nobody waited, or at the
    moment when a wait was cancelled, goes to whoever asks next, at once."""
    gone = await bench.worker("gone")
    tasks: list[Task] = []
    for n in range(12):
        waiting = bench.start(gone.ask, [Want("job", 1)], 1)
        with anyio.CancelScope(shield=True):
            putting = bench.start(bench.accept, task := bench.task())
            for _ in range(n % 4):
                await anyio.lowlevel.checkpoint()
            await waiting.stop()
            await putting.done()
        tasks.append(task)
    tasks.append(await bench.submit())
    # Whatever a call took whose answer was lost goes back with the next heartbeat.
    gone.answered, gone.held = gone.call, {}
    await gone.beat()
    got = await (await bench.worker("next")).take(len(tasks), within=1.0)
    same({one.task.id for one in got}, {task.id for task in tasks}, "tasks delivered")


@case("K115b", traits={"mute"}, deadline=30.0)
async def all_unheard(bench: Bench) -> None:
    """With every wake-up lost, waits still find what they wait for, a few seconds later: tasks,
    permits and events."""
    await bench.harness.mute(bench.namespace)
    claimed = bench.harness.capabilities.abilities
    worker = await bench.worker()
    waiting = [bench.start(worker.one)]
    if Ability.LIMITS in claimed:
        desk, other = Desk(bench, "one"), Desk(bench, "other")
        await desk.limit("k", 1)
        permit = await desk.gets("k")
        waiting.append(bench.start(other.gets, "k"))
        await anyio.sleep(BEGINS)
        await desk.release(permit)
    await anyio.sleep(BEGINS)
    task = await bench.submit()
    if Ability.EVENTS in claimed:
        async with Listener(bench).open() as listener:
            seen = await bench.submit("seen")
            await listener.until(seen, EventName.ACCEPTED)
    with anyio.fail_after(6.0 * bench.scale):
        same((await waiting[0].done()).task.id, task.id, "task delivered")
        for one in waiting[1:]:
            await one.done()


@case("K116")
async def no_herd(bench: Bench) -> None:
    """Of ten workers that wait for work, one task makes one call of ``lease`` return, and three
    make three: the others wait on, until their wait is over."""
    wait = 1.0 * bench.scale
    queue = (await bench.another()).queue
    workers = [await bench.worker(queue=queue if n % 2 else None) for n in range(10)]
    calls = [bench.start(_waited, bench, worker, wait) for worker in workers]
    await anyio.sleep(BEGINS)
    tasks = [await bench.submit()]
    await anyio.sleep(BEGINS)
    tasks += await bench.submit_many(3)
    answers = [await call.done() for call in calls]
    served = [ids for ids, _ in answers if ids]
    same(sorted(id for ids in served for id in ids), [t.id for t in tasks], "tasks delivered")
    same([len(ids) for ids in served], [1] * 4, "deliveries of each call that had any")
    # Some event loops wake up to a millisecond early.
    early = [took for ids, took in answers if not ids and took < wait - 0.01]
    same(early, [], f"waits that ended with nothing before their {wait:g} s were over")


async def _waited(bench: Bench, worker: Worker, wait: float) -> tuple[list[str], float]:
    before = bench.clock()
    got = await worker.lease(wait=wait)
    return [one.task.id for one in got], bench.clock() - before


@case("K117", needs=EVENTS)
async def goes_on_behind_a_cursor(bench: Bench) -> None:
    """A subscription that breaks off again and again, at any event, and goes on behind its last
    cursor, in one process or another, while tasks come and go, gets each event once, in order."""
    notifiers = [bench.notifier, (await bench.another()).needed("notifier")]
    async with Listener(bench).open() as start:
        first = await bench.submit()
        await start.until(first, EventName.ACCEPTED)
        cursor = start.cursor
    producing = bench.start(_come_and_go, bench)
    heard = [(first.id, 1)]
    for turn in range(36):
        if len(heard) >= 36:
            break
        async with Listener(bench, notifiers[turn % 2], after=cursor).open() as listener:
            cursor, events = await listener.stop_after(min(1 + turn % 3, 36 - len(heard)))
        heard += [(event.id, event.seq) for event in events]
    await producing.done()
    same(len(set(heard)), len(heard), "different events among those heard")
    for id in dict.fromkeys(id for id, _ in heard):
        same([seq for one, seq in heard if one == id], [1, 2, 3], f"numbers of the events of {id}")


async def _come_and_go(bench: Bench) -> None:
    """Twelve tasks, with the one that waits already, are leased and settled, several at once."""
    worker = await bench.worker()
    await worker.ends(await worker.one())
    for size in (1, 4, 2, 4):
        await bench.submit_many(size)
        await worker.settle_all([ended(one, None) for one in await worker.take(size)])


@case("K118", needs={Ability.CANCEL, Ability.VIEW}, deadline=40.0)
async def told_of_a_cancel(bench: Bench) -> None:
    """The handler of a task that is canceled from another process is told within two seconds,
    and the task is canceled."""
    runs = Runs()
    task = await bench.submit()
    queue = (await bench.another()).queue

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            await anyio.sleep_forever()

    async def told() -> bool:
        return runs.canceled == 1

    async with working(bench, job):
        await runs.are(bench, 1)
        [verdict] = await queue.control([Cancel(task.id, "enough")])
        same(verdict.did, Did.REQUESTED, "answer to the cancel of a running task")
        await bench.until("the handler is told", told, within=TOLD)
        await bench.sees(task, state=State.CANCELED, reason="enough")
    same(runs.started[task.id], 1, "runs")


class _Down(Notifier):
    """A notifier that is out of order. ``asked`` counts how often it was to subscribe."""

    asked = 0

    async def publish(self, events: Sequence[Event]) -> None:
        raise Unavailable("the notifier is down")

    def subscribe(self, filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
        self.asked += 1
        raise Unavailable("the notifier is down")


class _Unnotified(App):
    """The app of a case, without a notifier or with one that is down."""

    notifier: Notifier | None = None

    @asynccontextmanager
    async def connect(self, role: Role | None = None) -> AsyncIterator[Connection]:
        async with super().connect(role) as connection:
            faces: Faces = connection.faces._replace(notifier=self.notifier)
            yield Connection(faces, connection.capabilities, connection.settings)


@case("K119", needs={Ability.VIEW, Ability.RESULTS}, deadline=30.0)
async def notifier_down(bench: Bench) -> None:
    """With no notifier, or one that is down, whoever waits for a task's end learns of it by
    looking now and then: the client over the backend gets the result within a few seconds."""
    for notifier in (None, _Down()):
        app = _Unnotified(bench, lambda: None, 10.0 * bench.scale)
        app.notifier = notifier
        async with app:
            task = await bench.submit(payload=b"{}")
            waiting: Background = bench.start(app.handle(task.id).result)
            await anyio.sleep(BEGINS)
            worker = await bench.worker()
            await worker.ends(await worker.one(), Success(b"7"))

            async def answered(waiting: Background = waiting) -> bool:
                return waiting.ended

            await bench.until("the result is there", answered, within=6.0)
            same(waiting.result, 7, "result")
        holds(notifier is None or notifier.asked > 0, "the notifier was asked in vain")
