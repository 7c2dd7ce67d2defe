"""Waits for tasks within ``app.testing()``: refused where nothing runs what they wait for."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from support.rehearsed import an_app
from xqueue_core import NothingRuns, XQueue, as_completed

#: Long enough for any machine: what is refused is refused at once.
LONG = 20.0


def _an_app() -> tuple[XQueue, Any]:
    app = an_app()

    @app.task
    async def remind(user_id: int) -> int:
        return user_id

    return app, remind


def test_plain_waits_are_refused_until_something_runs() -> None:
    app, remind = _an_app()
    with app.testing() as t:
        handle = remind.sync.submit(3)
        for wait in (handle.result, handle.wait):
            with pytest.raises(NothingRuns, match=r"remind:.* has not run.*t\.run_all\(\)"):
                wait(timeout=LONG)
        with pytest.raises(NothingRuns, match=r"t\.run_all\(\)"):
            list(app.sync.as_completed([handle], timeout=LONG))
        with pytest.raises(NothingRuns, match=r"t\.run_all\(\)"):
            next(handle.events())
        t.run_all()
        assert handle.result(timeout=LONG) == 3
        assert [one.id for one in app.sync.as_completed([handle], timeout=LONG)] == [handle.id]


@pytest.mark.anyio
async def test_waits_of_coroutines_are_as_well() -> None:
    app, remind = _an_app()
    async with app.testing() as t:
        handle = await remind.options(delay=60).submit(3)
        for wait in (handle.result, handle.wait):
            with pytest.raises(NothingRuns, match=r"t\.run_all\(\)"):
                await wait(timeout=LONG)
        with pytest.raises(NothingRuns):
            [one async for one in as_completed([handle], timeout=LONG)]
        with pytest.raises(NothingRuns):
            await anext(handle.events())
        await t.advance(30)
        with pytest.raises(NothingRuns):
            await handle.result(timeout=LONG)
        await t.run_all()
        assert await handle.result(timeout=LONG) == 3


def test_a_short_wait_says_so_too() -> None:
    app, remind = _an_app()
    with app.testing():
        handle = remind.sync.submit(3)
        with pytest.raises(TimeoutError, match=r"nothing runs until you call t\.run_all\(\)"):
            handle.result(timeout=0.001)


def test_why_says_what_to_call() -> None:
    app, remind = _an_app()
    with app.testing() as t:
        now, later = remind.sync.submit(3), remind.options(delay=60).sync.submit(4)
        for handle in (now, later):
            first = handle.why().reasons[0]
            assert (first.code, first.cause) == ("no_worker", "testing")
            assert "t.run_all()" in first.text
            assert "start one" not in str(handle.why())
        t.run_one()
        assert "start one" not in str(later.why())


def test_within_a_handler_and_beside_a_run_waits_are_as_ever() -> None:
    app, remind = _an_app()
    beside: list[int] = []

    @app.task
    async def parent() -> int:
        child = await remind.submit(5)
        events = [notice.event.name async for notice in child.events() if notice.event]
        assert events[-1] == "finished"
        [done] = [one async for one in as_completed([child])]
        result: int = await done.result()
        return result + 1

    @app.task
    def plain() -> int:
        result: int = remind.sync.submit(6).result(timeout=LONG)
        return result + 1

    with app.testing() as t:
        handles = [parent.sync.submit(), plain.sync.submit()]
        other = remind.options(delay=60).sync.submit(1)

        @app.task
        def begins() -> None:
            waits = threading.Thread(target=lambda: beside.append(other.result(timeout=LONG)))
            waits.start()
            threads.append(waits)

        threads: list[threading.Thread] = []
        begins.sync.submit()
        t.run_all()
        assert [handle.result(timeout=LONG) for handle in handles] == [6, 7]
        for one in threads:
            one.join(LONG)
        assert beside == [1]


@pytest.mark.anyio
async def test_a_wait_that_begins_before_its_run_is_served_by_it() -> None:
    app, remind = _an_app()
    async with app.testing() as t:
        handle = await remind.submit(3)
        result, _ = await asyncio.gather(handle.result(timeout=LONG), t.run_all())
        assert result == 3


def test_a_wait_that_a_run_leaves_behind_is_refused() -> None:
    app, remind = _an_app()
    said: list[BaseException] = []
    threads: list[threading.Thread] = []

    with app.testing() as t:
        later = remind.options(delay=60).sync.submit(1)

        def waits() -> None:
            try:
                later.result(timeout=LONG)
            except NothingRuns as error:
                said.append(error)

        @app.task
        def begins() -> None:
            threads.append(threading.Thread(target=waits))
            threads[0].start()

        begins.sync.submit()
        t.run_one()
        threads[0].join(LONG)
        assert len(said) == 1
