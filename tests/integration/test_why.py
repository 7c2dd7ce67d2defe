"""``handle.why()`` beside real workers: what it says follows what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import trio

from support.apps import make_app
from support.workers import until, working
from xqueue_core import Context, Handle, RetryPolicy, State, XQueue
from xqueue_core.calls import Order, Pause, Resume
from xqueue_core.why import (
    Behind,
    Busy,
    CancelRequested,
    Due,
    Ended,
    Expiring,
    Fetched,
    KeyLimit,
    LaneLimit,
    NoWorker,
    Overdue,
    Paused,
    Processing,
    Ready,
    Reason,
)
from xqueue_core.worker import Worker

pytestmark = pytest.mark.anyio

R = TypeVar("R", bound=Reason)


class Gates:
    """Handlers wait here until the test lets them go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.running = 0

    async def wait(self) -> None:
        """Count one that runs."""
        self.running += 1
        try:
            await self.open.wait()
        finally:
            self.running -= 1


@pytest.fixture
async def gates() -> Gates:
    return Gates()


async def said(handle: Handle[object], kind: type[R], *, first: bool = True) -> R:
    """Wait until a reason of this kind is given, as the most decisive one unless said."""

    async def look() -> R | None:
        reasons = (await handle.why()).reasons
        among = reasons[:1] if first else reasons
        return next((one for one in among if isinstance(one, kind)), None)

    found = await until(f"{kind.__name__} is said of {handle.id}", look)
    assert isinstance(found, kind)
    return found


async def registered(app: XQueue) -> str:
    """The id of the one worker, once it has sent a heartbeat."""
    async with app.connect() as connection:
        [worker] = await until("it is there", connection.faces.needed("view").workers)
    return str(worker.beat.worker)


async def heard(app: XQueue) -> None:
    """Wait until the one worker has had an answer to a heartbeat that it sends from now on."""
    async with app.connect() as connection:
        view = connection.faces.needed("view")

        async def number() -> int:
            [worker] = await view.workers()
            return int(worker.beat.number)

        before = await number()

        async def later() -> bool:
            return await number() >= before + 2

        await until("two more heartbeats came", later)


@asynccontextmanager
async def narrow(app: XQueue, slots: int = 1, **options: object) -> AsyncIterator[Worker]:
    """A worker with few slots that fetches nothing ahead."""
    async with working(app, concurrency=slots, prefetch=0, **options) as worker:
        yield worker


async def test_from_nobody_to_success(app: XQueue) -> None:
    @app.task
    async def job() -> int:
        return 7

    handle = await job.submit()
    nobody = await said(handle, NoWorker)
    assert (nobody.cause, nobody.type) == ("none", "job")
    async with working(app):
        assert await handle.result(10) == 7
    why = await handle.why()
    assert why.state is State.SUCCESS
    assert [one.code for one in why.reasons] == ["ended"]
    assert "it ended in success" in str(why)


async def test_a_worker_of_something_else_is_no_help(app: XQueue) -> None:
    @app.task
    async def resize() -> None: ...

    @app.task
    async def resized() -> None: ...

    handle = await resize.submit()
    async with working(app, lanes=["resized"]):
        await registered(app)
        nobody = await said(handle, NoWorker)
        assert (nobody.cause, nobody.near) == ("lane", ("resized",))


async def test_a_pause_and_an_order_are_told_until_they_are_undone(app: XQueue) -> None:
    @app.task
    async def job() -> None: ...

    async with working(app), app.connect() as connection:
        queue = connection.faces.queue
        worker = await registered(app)
        await queue.control([Order(worker, quiet=True)])
        await heard(app)
        handle = await job.submit()
        assert (await said(handle, NoWorker)).cause == "quiet"
        await queue.control([Pause("job")])
        assert (await said(handle, Paused)).lane == "job"
        await queue.control([Order(worker)])
        await said(handle, Paused)
        assert [one.code for one in (await handle.why()).reasons] == ["lane_paused"]
        await queue.control([Resume("job")])
        await handle.result(10)


async def test_the_first_runs_and_the_others_say_what_for_they_wait(
    app: XQueue, gates: Gates
) -> None:
    @app.task
    async def job(n: int) -> None:
        await gates.wait()

    handles = await app.submit_many(job.call(n) for n in range(4))
    await app.submit_many(job.options(priority=5).call(9) for _ in range(2))
    async with narrow(app, 2) as worker:
        await until("two run", lambda: gates.running == 2)
        urgent = [one async for one in _running(app)]
        assert len(urgent) == 2
        busy = await said(handles[0], Busy)
        assert (busy.slots, busy.running, len(busy.workers)) == (2, 2, 1)
        assert [(await said(one, Behind, first=False)).count for one in handles[1:]] == [1, 2, 3]
        codes = [one.code for one in (await handles[0].why()).reasons]
        assert codes == ["slots_busy"]
        gates.open.set()
        await asyncio.gather(*(one.result(10) for one in handles))
        assert worker.abandoned is False


async def _running(app: XQueue) -> AsyncIterator[Processing]:
    """What is said of each task that runs."""
    from xqueue_core.views import Filter

    async with app.connect() as connection:
        view = connection.faces.needed("view")
        page = await view.list(Filter(states=frozenset({State.PROCESSING})), None, 10)
    for info in page.items:
        yield await said(app.handle(info.id), Processing)


async def test_a_lane_at_its_limit_names_the_worker_that_holds_it(
    app: XQueue, gates: Gates
) -> None:
    @app.task(max_concurrency=1)
    async def job() -> None:
        await gates.wait()

    first, second = await job.submit(), await job.submit()
    async with narrow(app, 5):
        await until("one runs", lambda: gates.running == 1)
        running = await said(first, Processing)
        full = await said(second, LaneLimit)
        [holder] = full.holders
        assert (full.limit, full.used, full.pinned) == (1, 1, False)
        assert (holder.worker, holder.permits) == (running.worker, 1)
        assert holder.expires_in is not None
        assert 0 < holder.expires_in <= 4.5  # the lease
        async with app.connect() as connection:
            await connection.faces.needed("semaphore").set_limit("lane:job", 2)
            await until("both run", lambda: gates.running == 2)
        gates.open.set()
        await second.result(10)


async def test_a_task_that_was_fetched_ahead_may_wait_for_a_permit(
    app: XQueue, gates: Gates
) -> None:
    @app.task(max_concurrency=1)
    async def job() -> None:
        await gates.wait()

    first, second = await job.submit(), await job.submit()
    async with working(app, concurrency=8, prefetch=4):
        await said(second, Processing)
        await until("the first runs", lambda: gates.running == 1)
        await heard(app)
        fetched = await said(second, Fetched, first=False)
        assert (fetched.holds, fetched.running, fetched.slots) == (2, 1, 8)
        codes = [one.code for one in (await second.why()).reasons]
        assert codes == ["processing", "fetched", "lane_limit"]
        gates.open.set()
        await asyncio.gather(first.result(10), second.result(10))


async def test_a_saturated_key_parks_the_others_in_its_line(app: XQueue, gates: Gates) -> None:
    @app.task(key="user_{user}", key_concurrency=1)
    async def job(user: int) -> None:
        await gates.wait()

    handles = await app.submit_many(job.call(7) for _ in range(4))
    async with narrow(app, 5):
        await until("one runs", lambda: gates.running == 1)
        await said(handles[0], Processing)
        for place, handle in enumerate(handles[1:], 1):

            async def parked(handle: Handle[None] = handle) -> KeyLimit | None:
                found = await said(handle, KeyLimit)
                return found if found.parked and found.waiting == 3 else None

            found: KeyLimit = await until("it is parked", parked)
            assert (found.key, found.limit, found.used) == ("user_7", 1, 1)
            assert found.place == place
        gates.open.set()
        await asyncio.gather(*(one.result(10) for one in handles))


async def test_a_delay_a_retry_and_an_end(app: XQueue) -> None:
    @app.task(max_retry=1, retry=RetryPolicy(base=600.0, cap=600.0))
    async def job(good: bool) -> None:
        if not good:
            raise ValueError("not good")

    later = await job.options(delay=3600).submit(True)
    bad = await job.submit(False)
    async with working(app):
        delayed = await said(later, Due)
        assert (delayed.after, delayed.fault) == ("delay", None)
        assert 3590 < delayed.due_in <= 3600

        async def retried() -> Due | None:
            found = next(iter((await bad.why()).reasons))
            return found if isinstance(found, Due) else None

        retry: Due = await until("a retry is told, unless it came at once", retried)
        assert (retry.after, retry.attempt, retry.attempts) == ("retry", 1, 2)
        assert retry.fault is not None
        assert (retry.fault.type, retry.fault.message) == ("ValueError", "not good")
        await bad.cancel("enough")
        ended = await said(bad, Ended)
        assert (ended.state, ended.reason) == (State.CANCELED, "enough")


async def test_a_task_that_may_expire_says_so_and_how_it_ended(app: XQueue) -> None:
    @app.task
    async def job() -> None: ...

    handle = await job.options(queue_timeout=0.3).submit()
    expiring = await said(handle, Expiring, first=False)
    assert expiring.exact
    assert expiring.expires_in <= 0.3
    late = await said(handle, Expiring)
    assert late.expires_in <= 0
    async with working(app):
        ended = await said(handle, Ended)
    assert (ended.state, ended.reason) == (State.TIMEOUT, "queue_timeout")
    assert "waited longer than its queue_timeout" in str(await handle.why())


async def test_a_handler_that_does_not_heed_its_time_or_a_cancel(app: XQueue) -> None:
    stop = asyncio.Event()

    @app.task(process_timeout=0.2, max_retry=0)
    async def stubborn(ctx: Context) -> None:
        await ctx.progress(50, "halfway")
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue  # it must not

    handle = await stubborn.submit()
    async with working(app):
        overdue = await said(handle, Overdue)
        assert overdue.timeout == 0.2
        processing = await said(handle, Processing, first=False)
        assert processing.progress == "50 %, halfway"

        async def stuck() -> bool:
            return (await said(handle, Overdue)).stuck

        await until("the worker says that it cannot be stopped", stuck)
        await handle.cancel()
        assert (await said(handle, CancelRequested)).worker == processing.worker
        stop.set()
        await said(handle, Ended)


async def test_nothing_in_the_way_is_said_of_what_is_about_to_start(app: XQueue) -> None:
    @app.task
    async def job() -> None: ...

    async with working(app):
        await registered(app)
        handle = await job.options(delay=0.3).submit()
        seen: set[type[Reason]] = set()

        async def done() -> bool:
            why = await handle.why()
            seen.update(type(one) for one in why.reasons)
            return why.state is State.SUCCESS

        # Not without a pause: a worker that is kept from its heartbeats is silent.
        await until("it has run", done, every=0.005)
    assert seen <= {Due, Ready, Processing, Fetched, Ended}
    assert {Due, Ended} <= seen


def test_it_can_be_asked_on_trio(url: str) -> None:
    async def main() -> None:
        app = make_app(url)

        @app.task
        async def job() -> None: ...

        why = await (await job.submit()).why()
        assert [one.code for one in why.reasons] == ["no_worker"]
        await app.aclose()

    trio.run(main)
