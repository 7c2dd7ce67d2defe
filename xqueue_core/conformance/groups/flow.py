"""I: how much runs, pauses, stops. The worker engine itself runs here, over the backend."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from xqueue_core.calls import Ability, Beat, Pause, Resume
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, same
from xqueue_core.conformance.engine import Runs, working
from xqueue_core.context import Context
from xqueue_core.task import State
from xqueue_core.views import Filter

VIEW = {Ability.VIEW}
ATTEMPTS = {Ability.ATTEMPTS}


@case("E53b", needs={Ability.FENCE, Ability.VIEW})
async def lost_is_canceled(bench: Bench) -> None:
    """The handler of a delivery that was lost is canceled soon; the worker registers anew,
    and the task runs once more."""
    runs, gate = Runs(), anyio.Event()
    task = await bench.submit()
    tokens = [0]

    async def job(ctx: Context) -> None:
        tokens.append(ctx.token)
        with runs.one(ctx.id):
            await gate.wait()

    async def counts() -> bool:
        info = await bench.info(task)
        current = info is not None and info.state is State.PROCESSING and info.delivery
        return runs.now == 1 and runs.canceled > 0 and current == tokens[-1]

    async with working(bench, job) as engine:
        await runs.are(bench, 1)
        # As if it had been declared dead: what it holds goes to whoever asks next. It may have
        # registered anew before that is over, and lose what it has then, too.
        await bench.queue.extend(Beat(worker=engine.id, leaving=True), [])
        await bench.until("the handler is canceled, and one of the next delivery runs", counts)
        gate.set()
        await bench.until("the task has run", _all_ran(runs, 1))
    same(runs.started[task.id], runs.canceled + 1, "how often it was started")
    await (await bench.worker()).none("deliveries in the end")


@case("I89", deadline=40.0)
async def resized(bench: Bench) -> None:
    """The number of slots can be raised and lowered while the worker runs: what runs is not
    touched, and soon as many run as there are slots."""
    runs, gate = Runs(), anyio.Semaphore(0)
    await bench.submit_many(20)

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            await gate.acquire()

    async def fewer() -> bool:
        # What ends before the word is heard makes room for another.
        if runs.now > 1:
            gate.release()
        return runs.now == 1

    async with working(bench, job, concurrency=1, prefetch=1) as engine:
        await runs.are(bench, 1)
        engine.resize(3)
        await runs.are(bench, 3)
        engine.resize(1)
        same((runs.now, runs.canceled), (3, 0), "handlers that run, and canceled ones")
        await bench.until("one handler runs", fewer, 10.0)
        runs.most = 0
        for _ in range(20):
            gate.release()
        await bench.until("every task has run", _all_ran(runs, 20), 10.0)
    same((runs.most, set(runs.started.values())), (1, {1}), "most at once, and runs of each")


@case("I90", needs=VIEW, deadline=40.0)
async def paused_everywhere(bench: Bench) -> None:
    """A pause holds for all workers: nothing more starts, and what waits in them goes back; a
    resume lets everything run, once."""
    runs, gate = Runs(), anyio.Event()
    handler = _held_back(runs, gate)
    tasks = await bench.submit_many(8)
    async with (
        working(bench, handler, concurrency=1, prefetch=2),
        working(bench, handler, concurrency=1, prefetch=2),
    ):
        await runs.are(bench, 2)
        await bench.does(Pause("job"))
        await bench.until("nothing but what runs is held", _processing(bench, 2), 10.0)
        gate.set()
        await runs.are(bench, 0)
        await bench.passes(0.5 * bench.scale)
        same(len(runs.started), 2, "tasks started while the lane is paused")
        await bench.does(Resume("job"))
        await bench.until("every task has run", _all_ran(runs, 8), 10.0)
        for task in tasks:
            await bench.sees(task, state=State.SUCCESS)
    same(set(runs.started.values()), {1}, "runs of each task")


@case("I91", needs=VIEW, deadline=40.0)
async def stops_in_grace(bench: Bench) -> None:
    """A worker that is stopped finishes what runs, starts nothing more, and leaves the rest to
    others."""
    runs, gate = Runs(), anyio.Event()
    await bench.submit_many(6)
    async with working(bench, _held_back(runs, gate), concurrency=2, prefetch=2) as engine:
        await runs.are(bench, 2)
        engine.stop()
        await bench.until("nothing but what runs is held", _processing(bench, 2), 10.0)
        gate.set()
        await bench.until("the worker has ended", _ended(engine.ended), 10.0)
    same((len(runs.started), runs.canceled), (2, 0), "tasks started, and canceled")
    ended = await bench.view.list(Filter(states=frozenset({State.SUCCESS})), None, 10)
    same({one.id for one in ended.items}, set(runs.started), "tasks that ended in success")
    same(len(await (await bench.worker()).take(4)), 4, "tasks left to others")


@case("I92", deadline=40.0)
async def stops_at_its_deadline(bench: Bench) -> None:
    """What still runs at the end of the grace time is canceled and delivered to another, once;
    its attempt is charged, for it had begun."""
    runs = Runs()
    task = await bench.submit()
    grace = 0.3 * bench.scale
    async with working(bench, _held_back(runs, anyio.Event()), grace=grace) as engine:
        await runs.are(bench, 1)
        engine.stop()
        await bench.until("the worker has ended", _ended(engine.ended), 10.0)
    same(runs.canceled, 1, "handlers canceled")
    worker = await bench.worker()
    again = await worker.one()
    same(again.task.id, task.id, "task delivered again")
    if Ability.ATTEMPTS in bench.harness.capabilities.abilities:
        same((again.attempt, again.losses), (2, 0), "attempt and losses")
    await worker.none("a second delivery")
    await worker.ends(again)


@case("I93", needs=ATTEMPTS, deadline=40.0)
async def stops_while_failing(bench: Bench) -> None:
    """A worker that is stopped while a handler deals with its error still records the failure:
    the task is tried again elsewhere, and not lost."""
    runs, gate = Runs(), anyio.Event()
    task = await bench.submit()

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            try:
                raise ValueError("what the handler cleans up after")
            except ValueError:
                await gate.wait()
                raise

    async with working(bench, job) as engine:
        await runs.are(bench, 1)
        engine.stop()
        gate.set()
        await bench.until("the worker has ended", _ended(engine.ended), 10.0)
    worker = await bench.worker()
    again = await worker.one()
    same((again.task.id, again.attempt), (task.id, 2), "task and attempt")
    if Ability.VIEW in bench.harness.capabilities.abilities:
        info = await bench.sees(task, state=State.PROCESSING)
        # The order to stop may come after the failure: then it was fetched once more, and back.
        ways = [one.how for one in info.history if one.how != "handback"]
        same(ways, ["retry", ""], "how the deliveries ended, less those handed back")
    await worker.ends(again)


@case("I94", needs=VIEW, deadline=40.0)
async def holds_few(bench: Bench) -> None:
    """However many tasks wait and however slow they are, a worker holds no more of them than it
    has slots and fetches ahead, but for those that have just ended."""
    runs, gate = Runs(), anyio.Semaphore(0)
    await bench.submit_many(60)
    most, wave = 0, 8

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            await gate.acquire()

    async def look(done: int) -> bool:
        nonlocal most
        most = max(most, (await bench.view.stats()).total().processing)
        return sum(runs.started.values()) >= done

    async with working(bench, job, concurrency=3, prefetch=2):
        await runs.are(bench, 3)
        for done in range(wave, 60 - wave, wave):
            for _ in range(wave):
                gate.release()
            await bench.until(f"{done + 3} tasks have started", partial(look, done + 3), 10.0)
            await bench.until("nothing beyond its room is held", _processing(bench, 5), 10.0)
        for _ in range(60):
            gate.release()
        await bench.until("every task has run", _all_ran(runs, 60), 10.0)
    between(most, 3, 5 + wave, "tasks that the worker held at once")
    same(runs.most, 3, "tasks that ran at once")


@case("I95", deadline=40.0)
async def released_at_once(bench: Bench) -> None:
    """What a worker had fetched and not started is delivered to another as soon as the worker is
    told to stop, although its lease is long and something still runs; no attempt is charged."""
    runs, gate = Runs(), anyio.Event()
    tasks = await bench.submit_many(4)
    other = await bench.worker()
    handler = _held_back(runs, gate)
    async with working(bench, handler, lease=60.0, concurrency=1, prefetch=3) as engine:
        await runs.are(bench, 1)
        await other.none("deliveries of what the engine has fetched", wait=0.2)
        engine.stop()
        got = await other.take(3, within=3.0)
        same(runs.now, 1, "handlers that still run")
        gate.set()
    same({one.task.id for one in got} | set(runs.started), {task.id for task in tasks}, "tasks")
    if Ability.ATTEMPTS in bench.harness.capabilities.abilities:
        same({(one.attempt, one.losses) for one in got}, {(1, 0)}, "attempts and losses")


@case("I96", deadline=40.0)
async def plain_functions(bench: Bench) -> None:
    """Plain functions run in threads, several at once, and hold up neither each other nor the
    event loop."""
    runs, gate = Runs(), threading.Event()
    threads: set[int] = set()
    await bench.submit_many(3)

    def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            threads.add(threading.get_ident())
            gate.wait(30.0)

    async with working(bench, job, concurrency=3, threads=3):
        try:
            await runs.are(bench, 3)
            before = bench.clock()
            await asyncio.sleep(0)
            between(bench.clock() - before, 0.0, 1.0 * bench.scale, "seconds the loop was blocked")
        finally:
            gate.set()
        await runs.are(bench, 0)
    same((len(threads), set(runs.started.values())), (3, {1}), "threads, and runs of each task")
    holds(threading.get_ident() not in threads, "no plain function runs on the event loop")


@case("I97", needs=VIEW, deadline=40.0, alone=True)
async def keeps_its_lease(bench: Bench) -> None:
    """A handler that computes for longer than a lease, and lets nothing else run on its event
    loop, keeps its delivery although another worker waits for work."""
    runs = Runs()
    lease = 1.5 * bench.scale
    task = await bench.submit()

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            end = time.monotonic() + 1.5 * lease
            while time.monotonic() < end:
                pass

    async with working(bench, job, lease=lease), working(bench, job, lease=lease):
        info = await bench.sees(task, state=State.SUCCESS, within=10.0)
    same((runs.started[task.id], info.attempt, info.losses), (1, 1, 0), "runs, attempt, losses")


def _held_back(runs: Runs, gate: anyio.Event) -> Callable[[Context], Awaitable[None]]:
    """A handler that runs until the gate opens."""

    async def job(ctx: Context) -> None:
        with runs.one(ctx.id):
            await gate.wait()

    return job


def _all_ran(runs: Runs, count: int) -> Callable[[], Awaitable[bool]]:
    async def ran() -> bool:
        return len(runs.started) == count and runs.now == 0

    return ran


def _processing(bench: Bench, count: int) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await bench.view.stats()).total().processing == count

    return look


def _ended(event: threading.Event) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return event.is_set()

    return look
