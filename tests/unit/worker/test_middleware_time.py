"""What the time-out counts where middleware or plugins surround a handler, of whatever kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.apps import make_app
from support.workers import until
from unit.worker.test_executor import Executing
from xqueue_core import Context, XQueue
from xqueue_core.around import CallNext, Middleware
from xqueue_core.task import Canceled, RetryAt, Success
from xqueue_core.worker.job import Told
from xqueue_core.worker.outcomes import HANDED_BACK

each_kind = pytest.mark.parametrize("kind", ["job", "plain"])

#: A time-out that is over soon, and one that is not (seconds).
SHORT, LONG = 0.2, 60.0


def app_with(middleware: Middleware) -> XQueue:
    """An app with a handler of each kind, which return at once."""
    app = make_app(middleware=[middleware])

    @app.task
    async def job() -> str:
        return "done"

    @app.task
    def plain() -> str:
        return "done"

    return app


@each_kind
def test_what_middleware_takes_counts(kind: str) -> None:
    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        await call_next(ctx)
        await asyncio.Event().wait()

    async def main() -> None:
        one = Executing(app_with(middleware))
        one.start(kind, process_timeout=SHORT)
        [outcome] = await one.until_ended(1)
        assert isinstance(outcome, RetryAt)
        assert outcome.timed_out
        one.executor.close()

    asyncio.run(main())


@pytest.mark.parametrize("calls", [True, False])
@each_kind
def test_middleware_that_was_told_of_a_time_out_decides(kind: str, calls: bool) -> None:
    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        value = await call_next(ctx) if calls else "skipped"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return value

    async def main() -> None:
        one = Executing(app_with(middleware))
        job = one.start(kind, process_timeout=SHORT)
        assert await one.until_ended(1) == [Success(b'"done"' if calls else b'"skipped"')]
        assert job.told is Told.TIMEOUT
        one.executor.close()

    asyncio.run(main())


def waits_for_its_time_out(app: XQueue, until_told: Callable[[Context], None]) -> None:
    """Declare a plain function that returns after its time-out."""

    @app.task
    def late(ctx: Context) -> str:
        until_told(ctx)
        return "late"


@pytest.mark.parametrize("looks", [True, False])
def test_a_plain_function_that_has_looked_has_decided_for_its_middleware_too(looks: bool) -> None:
    returned: list[str] = []

    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        returned.append(await call_next(ctx))
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            returned.append("cancelled")
        return returned[0]

    async def main() -> None:
        app = app_with(middleware)
        told = threading.Event()

        def until_told(ctx: Context) -> None:
            told.wait(10)
            assert not looks or ctx.canceled

        waits_for_its_time_out(app, until_told)
        one = Executing(app)
        job = one.start("late", process_timeout=SHORT)
        await until("it is told", lambda: job.told is Told.TIMEOUT)
        told.set()
        [outcome] = await one.until_ended(1)
        if looks:
            assert (outcome, returned) == (Success(b'"late"'), ["late"])
        else:
            assert (outcome.timed_out, returned) == (True, ["late", "cancelled"])
        one.executor.close()

    asyncio.run(main())


@pytest.mark.parametrize("why", [Told.TIMEOUT, Told.CANCEL, Told.STOP, Told.LOST])
def test_middleware_is_told_although_the_function_below_has_looked(why: Told) -> None:
    """Else it would keep slot, permit and lease for as long as it likes."""
    looked = threading.Event()

    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        await call_next(ctx)
        await asyncio.Event().wait()

    async def main() -> None:
        app = app_with(middleware)

        def until_told(ctx: Context) -> None:
            while not ctx.canceled:
                looked.wait(0.001)

        waits_for_its_time_out(app, until_told)
        one = Executing(app)
        job = one.start("late", process_timeout=SHORT if why is Told.TIMEOUT else LONG)
        await until("it runs", lambda: job.started)
        if why is not Told.TIMEOUT:
            one.tell(job, why)
        [outcome] = await one.until_ended(1)
        if why is Told.TIMEOUT:
            assert outcome.timed_out
        else:
            ends = {Told.CANCEL: Canceled(), Told.STOP: HANDED_BACK, Told.LOST: None}
            assert outcome == ends[why]
        one.executor.close()

    asyncio.run(main())


def test_a_loop_that_is_held_up_takes_nothing_of_a_threads_time() -> None:
    returned = threading.Event()

    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        return await call_next(ctx)

    async def main() -> None:
        app = app_with(middleware)

        @app.task
        def quick() -> str:
            returned.set()
            return "quick"

        @app.task
        async def hog() -> None:
            assert returned.wait(10)
            threading.Event().wait(2 * SHORT)  # this loop comes to itself beyond the time-out

        one = Executing(app)
        job = one.start("quick", process_timeout=SHORT)
        one.start("hog", process_timeout=LONG)
        await one.until_ended(2)
        assert job.outcome == Success(b'"quick"')
        assert job.told is Told.NOTHING
        one.executor.close()

    asyncio.run(main())


@pytest.mark.parametrize("why", [Told.CANCEL, Told.STOP, Told.LOST])
@pytest.mark.parametrize("short", [True, False])
def test_a_word_that_comes_after_the_handlers_end_leaves_middleware_a_moment(
    why: Told, short: bool
) -> None:
    returned = threading.Event()

    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        value = await call_next(ctx)
        if ctx.type == "quick":
            await (asyncio.sleep(0) if short else asyncio.Event().wait())
        return value

    async def main() -> None:
        app = app_with(middleware)

        @app.task
        def quick() -> str:
            returned.set()
            return "quick"

        @app.task
        async def hog() -> None:
            assert returned.wait(10)
            threading.Event().wait(0.1)
            one.tell(job, why)

        one = Executing(app)
        job = one.start("quick")
        one.start("hog")
        await one.until_ended(2)
        cut = {Told.CANCEL: Canceled(), Told.STOP: HANDED_BACK, Told.LOST: None}[why]
        lets_through = short and why is not Told.LOST
        assert job.outcome == (Success(b'"quick"') if lets_through else cut)
        one.executor.close()

    asyncio.run(main())


def test_what_is_left_of_the_time_goes_on_after_the_handler() -> None:
    left: list[float | None] = []

    async def middleware(ctx: Context, call_next: CallNext) -> Any:
        value = await call_next(ctx)
        left.append(ctx.remaining)
        return value

    async def main() -> None:
        one = Executing(app_with(middleware))
        job = one.start("plain", process_timeout=LONG)
        await one.until_ended(1)
        assert left[0] is not None
        assert LONG - 10 < left[0] <= LONG
        assert (job.still, job.spared >= 0) == (None, True)
        one.executor.close()

    asyncio.run(main())
