"""``with app.testing()`` in plain tests, where no event loop runs."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.rehearsed import an_app, hows
from xqueue_core import (
    ConfigError,
    Context,
    InvalidTask,
    PluginNotFound,
    Reject,
    ResultExpired,
    Retry,
    RetryPolicy,
    TaskFailed,
    TaskTimedOut,
)

NOON = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)


def test_a_task_is_submitted_run_and_answers_through_its_handle() -> None:
    app = an_app()

    @app.task
    async def add(a: int, b: int = 1) -> int:
        return a + b

    with app.testing() as t:
        handle = asyncio.run(_submit(add, 2))
        assert asyncio.run(handle.state()) == "pending"
        [run] = t.run_all()
        assert (run.id, run.attempt, run.how, run.error) == (handle.id, 1, "success", None)
        assert run.type == "add"
        assert asyncio.run(handle.result()) == 3
        assert t.run_all() == []  # nothing is left


def test_without_it_the_settings_hold_and_within_it_they_do_not(tmp_path: Path) -> None:
    app = an_app(semaphore_url="nowhere://limits", lanes="other")

    @app.task
    async def job() -> None: ...

    with app.testing() as t:
        asyncio.run(_submit(job))
        assert hows(t.run_all()) == ["success"]
    with pytest.raises(PluginNotFound):
        asyncio.run(_submit(job))


def test_retries_take_no_time_and_come_when_the_policy_says() -> None:
    app = an_app()
    at: list[float] = []

    @app.task(max_retry=2, retry=RetryPolicy(base=3600, factor=10))
    def flaky(ctx: Context) -> int:
        at.append(t.now.timestamp())
        if ctx.attempt < 3:
            raise ConnectionError("not yet")
        return ctx.attempt

    with app.testing(now=NOON) as t:
        handle = asyncio.run(_submit(flaky))
        ran = t.run_all()
        assert hows(ran) == ["retry", "retry", "success"]
        assert [type(run.error) for run in ran] == [ConnectionError, ConnectionError, type(None)]
        assert asyncio.run(handle.result()) == 3
        assert at[0] == NOON.timestamp()
        assert 0 < at[1] - at[0] <= 3600
        assert at[2] - at[1] > 0
        assert t.now.timestamp() == at[2]


def test_a_delayed_task_runs_at_its_very_time() -> None:
    app = an_app()
    seen: list[datetime] = []

    @app.task
    async def later() -> None:
        seen.append(t.now)

    with app.testing(now=NOON) as t:
        at = NOON + timedelta(days=3, microseconds=1)
        asyncio.run(_submit(later.options(run_at=at)))
        asyncio.run(_submit(later.options(delay=86_400)))
        asyncio.run(_submit(later))
        assert hows(t.run_all()) == ["success"] * 3
    assert seen == [NOON, NOON + timedelta(days=1), at]


def test_what_fails_for_good_is_raised_with_its_own_traceback() -> None:
    app = an_app()

    @app.task(max_retry=0)
    def broken(n: int) -> None:
        raise ZeroDivisionError(f"number {n}")

    with app.testing() as t:
        handle = asyncio.run(_submit(broken, 1))
        asyncio.run(_submit(broken, 2))
        with pytest.raises(ZeroDivisionError, match=r"number [12]") as raised:
            t.run_all()
        frames = traceback.extract_tb(raised.value.__traceback__)
        assert frames[-1].line == 'raise ZeroDivisionError(f"number {n}")'
        first, second = raised.value.__notes__
        assert "attempt 1" in first
        assert "1 more ended badly: broken:" in second
        with pytest.raises(TaskFailed):
            asyncio.run(handle.result())


@pytest.mark.parametrize("how", ["of all", "of one call"])
def test_errors_may_be_looked_at_instead(how: str) -> None:
    app = an_app()

    @app.task
    async def broken() -> None:
        raise Reject("no such user")

    with app.testing(raise_errors=how == "of one call") as t:
        asyncio.run(_submit(broken))
        [run] = t.run_all() if how == "of all" else t.run_all(raise_errors=False)
        assert run.how == "failed"
        assert isinstance(run.error, Reject)


def test_arguments_that_a_worker_refuses_are_raised_as_what_is_wrong_with_them() -> None:
    app = an_app()

    @app.task
    async def wants(n: int) -> None: ...

    with app.testing() as t:
        asyncio.run(app_submit(app, t, "wants"))
        with pytest.raises(InvalidTask, match="missing required"):
            t.run_all()


def test_a_time_out_is_raised_as_such() -> None:
    app = an_app()

    @app.task(process_timeout=0.05, max_retry=0)
    async def slow() -> None:
        await asyncio.sleep(30)

    with app.testing() as t:
        asyncio.run(_submit(slow))
        with pytest.raises(TaskTimedOut):
            t.run_all()


def test_a_failed_attempt_that_a_later_one_makes_up_for_is_not_raised() -> None:
    app = an_app()

    @app.task
    async def flaky(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise Retry(delay=100)

    with app.testing() as t:
        asyncio.run(_submit(flaky))
        assert hows(t.run_all()) == ["retry", "success"]


def test_one_at_a_time() -> None:
    app = an_app()
    order: list[str] = []

    @app.task
    def note(what: str) -> None:
        order.append(what)
        if what == "fails":
            raise Retry(delay=5)

    with app.testing(now=NOON) as t:
        asyncio.run(_submit(note.options(delay=60), "later"))
        asyncio.run(_submit(note.options(max_retry=1), "fails"))
        asyncio.run(_submit(note, "now"))
        assert hows(t.run_one()) == ["retry"]
        assert order == ["fails"]
        assert hows(t.run_one()) == ["success"]
        assert order == ["fails", "now"]
        assert t.now == NOON
        with pytest.raises(Retry):
            t.run_one()
        assert t.now == NOON + timedelta(seconds=5)
        assert hows(t.run_one()) == ["success"]
        assert order == ["fails", "now", "fails", "later"]
        assert t.now == NOON + timedelta(seconds=60)
        assert t.run_one() == []


def test_time_passes_exactly_and_what_is_due_in_it_runs() -> None:
    app = an_app()
    ran: list[int] = []

    @app.task
    async def job(n: int) -> None:
        ran.append(n)

    with app.testing(now=NOON) as t:
        for n in (10, 20, 30):
            asyncio.run(_submit(job.options(delay=n), n))
        assert hows(t.advance(20)) == ["success"] * 2
        assert t.now == NOON + timedelta(seconds=20)
        assert t.advance(timedelta(seconds=9.5)) == []
        assert t.now == NOON + timedelta(seconds=29.5)
        t.advance(0.5)
        assert ran == [10, 20, 30]
        for wrong in (-1, float("nan"), float("inf"), "1"):
            with pytest.raises(ConfigError, match="advance"):
                t.advance(wrong)  # type: ignore[arg-type]


def test_what_is_kept_for_a_time_is_gone_after_it() -> None:
    app = an_app()

    @app.task(result_ttl=100)
    async def job() -> int:
        return 1

    with app.testing() as t:
        handle = asyncio.run(_submit(job))
        t.run_all()
        t.advance(99)
        assert asyncio.run(handle.result()) == 1
        t.advance(1)
        with pytest.raises(ResultExpired):
            asyncio.run(handle.result())


def test_the_clock_needs_a_time_zone() -> None:
    with pytest.raises(ConfigError, match="time zone"):
        an_app().testing(now=datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point


def test_two_tests_see_nothing_of_each_other() -> None:
    app = an_app()

    @app.task
    async def job() -> int:
        return 1

    with app.testing() as t:
        handle = asyncio.run(_submit(job.options(id="the-same")))
        t.run_all()
    with app.testing() as t:
        assert t.submitted() == []
        assert t.run_all() == []
        assert t.info(handle.id) is None
        again = asyncio.run(_submit(job.options(id="the-same")))
        assert not again.duplicate
        info = t.info(again.id)
        assert info is not None
        assert info.state == "pending"


def test_nested_use_is_an_error_that_says_so() -> None:
    app, other = an_app(), an_app()

    @app.task
    async def job() -> None: ...

    outer = app.testing()
    with outer as t:
        with pytest.raises(ConfigError, match="one at a time"), app.testing():
            raise AssertionError("it was entered")
        with other.testing():  # another app has another broker
            asyncio.run(_submit(job))
        t.submitted(job).once()
    with pytest.raises(ConfigError, match="used before"), outer:
        raise AssertionError("it was entered")
    for use in (t.run_all, t.submitted, lambda: t.advance(1), lambda: t.info("job:1")):
        with pytest.raises(ConfigError, match="within its context"):
            use()


def test_it_may_be_used_again_after_an_error_in_it() -> None:
    app = an_app()
    with pytest.raises(KeyError), app.testing():
        raise KeyError("in the test")
    with app.testing() as t:
        assert t.submitted() == []


def test_something_endless_is_called_so() -> None:
    app = an_app()

    @app.task
    async def again() -> None:
        await again.options(delay=3600).submit()

    with app.testing() as t:
        asyncio.run(_submit(again))
        with pytest.raises(AssertionError, match="more than 20 attempts"):
            t.run_all(most=20)


def test_what_can_never_run_is_named() -> None:
    app = an_app()

    @app.task
    async def job() -> None: ...

    async def quiet() -> None:
        """Another worker, which does nothing, has taken it."""
        from xqueue_core.calls import Beat, Want

        handle = await job.submit()
        async with app.connect() as connection:
            queue = connection.faces.queue
            await queue.extend(Beat(worker="other~1", lease=1e6, heartbeat=1.0), [])
            leased = await queue.lease([Want("job", 1)], 1, 1, "other~1", 0.0)
        assert leased.deliveries[0].task.id == handle.id

    with app.testing() as t:
        asyncio.run(quiet())
        with pytest.raises(AssertionError, match=r"nothing happens.*job:.*processing"):
            t.run_all()


def test_a_paused_lane_is_left() -> None:
    app = an_app()

    @app.task
    async def job() -> None: ...

    async def pause() -> None:
        from xqueue_core.calls import Pause

        async with app.connect() as connection:
            await connection.faces.queue.control([Pause(lane="job")])

    with app.testing() as t:
        handle = asyncio.run(_submit(job))
        asyncio.run(pause())
        assert t.run_all() == []
        assert t.advance(60) == []
        assert asyncio.run(handle.state()) == "pending"


def test_nothing_is_left_behind() -> None:
    app = an_app()

    @app.task
    def job() -> None: ...

    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with app.testing() as t:
            for _ in range(5):
                asyncio.run(_submit(job))
            assert len(t.run_all()) == 5
            assert set(threading.enumerate()) == before
        gc.collect()
    assert set(threading.enumerate()) == before
    assert app._client._sessions._open == {}


def test_isolated_handlers_run_in_the_test_s_own_process() -> None:
    app = an_app()
    seen: list[str] = []

    @app.task(isolation="process", max_memory=64)
    def job() -> None:
        seen.append("here")

    with app.testing() as t:
        asyncio.run(_submit(job))
        t.run_all()
    assert seen == ["here"]


async def _submit(what: Any, *args: Any) -> Any:
    return await what.submit(*args)


async def app_submit(app: Any, t: Any, name: str) -> None:
    """Submit what no client of this app would: a payload that does not fit."""
    from xqueue_core.task import Task

    async with app.connect() as connection:
        await connection.faces.queue.put([Task(id=f"{name}:1", lane=name)])
