"""``inline://`` when the program ends while something runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from support.apps import make_app
from xqueue_core import Context
from xqueue_core.inline import InlineQueue


def test_a_program_may_end_right_after_a_task_was_taken() -> None:
    """asyncio cancels every task at the end, also one that has not made its first step."""
    app, ran = make_app("inline://"), []

    @app.task
    async def hello() -> None:
        ran.append(1)

    async def main() -> None:
        await app._opened()
        queue = (await app._client.session.connection()).faces.queue
        assert isinstance(queue, InlineQueue)
        submit = asyncio.ensure_future(hello.submit())
        while not queue._ends:
            await asyncio.sleep(0)
        assert not submit.done()

    run_within(10, main)
    assert ran == []


def test_a_handler_that_the_programs_end_interrupts_is_not_begun_again() -> None:
    app, begun = make_app("inline://"), []

    @app.task(max_retry=3, process_timeout=5)
    async def hang() -> None:
        begun.append(1)
        await asyncio.sleep(100)

    async def main() -> None:
        submit = asyncio.ensure_future(hang.submit())
        while not begun:
            await asyncio.sleep(0.001)
        assert not submit.done()

    run_within(10, main)
    assert begun == [1]


@pytest.mark.parametrize("closed", [True, False])
def test_on_error_is_told_that_nothing_follows(closed: bool) -> None:
    app = make_app("inline://")
    begun: list[int] = []
    told: list[bool] = []

    @app.on_error
    async def report(ctx: Context, error: BaseException, final: bool) -> None:
        told.append(final)

    @app.task(max_retry=3, process_timeout=5)
    async def hang() -> None:
        begun.append(1)
        await go_on.wait()
        raise LookupError

    async def main() -> None:
        queue = (await app._client.session.connection()).faces.queue
        assert isinstance(queue, InlineQueue)
        submit = asyncio.ensure_future(hang.submit())
        while not begun:
            await asyncio.sleep(0.001)
        if closed:  # else the loop's end cancels the handler
            closing = asyncio.ensure_future(app.aclose())
            submit.cancel()
            while not queue._closing:
                await asyncio.sleep(0.001)
            go_on.set()
            await closing

    go_on = asyncio.Event()
    run_within(10, main)
    assert (begun, told) == ([1], [True])


@pytest.mark.parametrize("plain", [True, False])
def test_on_error_is_called_though_the_loop_ends_before_its_first_step(
    plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app, told = make_app("inline://"), []
    begun: list[asyncio.Event] = []

    async def waits(ctx: Context, error: BaseException, final: bool) -> None:
        told.append((repr(error), final))

    def threaded(ctx: Context, error: BaseException, final: bool) -> None:
        told.append((repr(error), final))

    app.on_error(threaded if plain else waits)

    @app.task(max_retry=0)
    async def fails() -> None:
        begun.append(asyncio.Event())
        await begun[0].wait()
        raise LookupError

    async def main() -> None:
        submit = asyncio.ensure_future(fails.submit())
        while not begun:
            await asyncio.sleep(0.001)
        begun[0].set()  # it fails in the loop's last turn
        assert not submit.done()

    run_within(4, main)
    assert told == [("LookupError()", True)]
    assert "on_error's" not in caplog.text


def run_within(seconds: float, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """``asyncio.run``, which must end in time."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()
    assert errors == []
