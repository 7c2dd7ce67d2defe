"""``Context.for_test()``: what a handler is given when a test calls it by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from support.rehearsed import an_app
from xqueue_core import ConfigError, Context, InvalidTask
from xqueue_core.task import Slot


def test_it_needs_nothing() -> None:
    ctx = Context.for_test()
    assert (ctx.id, ctx.type, ctx.lane, ctx.attempt, ctx.token) == ("test:0", "test", "test", 1, 1)
    assert (ctx.headers, ctx.slot, ctx.app, ctx.state, ctx.worker) == ({}, None, None, None, "test")
    assert (ctx.remaining, ctx.canceled, ctx.reported) == (None, False, [])
    ctx.check()
    assert isinstance(ctx, Context)
    assert repr(ctx) == "<Context test:0 attempt 1>"


def test_everything_can_be_said() -> None:
    app, state = an_app(), object()
    ctx = Context.for_test(
        "mail:7",
        attempt=3,
        lane="slow",
        token=9,
        accepted_at=5.0,
        headers={"trace": "abc"},
        remaining=12.5,
        state=state,
        slot=Slot("nightly", 2, 60.0),
        app=app,
        worker="w1",
    )
    assert (ctx.id, ctx.type, ctx.lane, ctx.attempt, ctx.token) == ("mail:7", "mail", "slow", 3, 9)
    assert (ctx.accepted_at, ctx.headers, ctx.remaining) == (5.0, {"trace": "abc"}, 12.5)
    assert (ctx.state, ctx.slot, ctx.app, ctx.worker) == (
        state,
        Slot("nightly", 2, 60.0),
        app,
        "w1",
    )


def test_a_slot_may_be_said_by_its_time() -> None:
    at = datetime(2030, 5, 1, 9, tzinfo=UTC)
    ctx = Context.for_test("report:1", slot=at)
    assert ctx.slot == Slot("report", 1, at.timestamp())
    with pytest.raises(ConfigError, match="time zone"):
        Context.for_test(slot=datetime(2030, 5, 1))  # noqa: DTZ001 - that is the point


def test_progress_is_kept() -> None:
    ctx = Context.for_test()

    async def handler(ctx: Context) -> None:
        await ctx.progress(50, "halfway")
        ctx.progress_nowait(done=3, total=4)

    asyncio.run(handler(ctx))
    first, second = ctx.reported
    assert (first.percent, first.message) == (50, "halfway")
    assert (second.percent, second.done, second.total, second.message) == (None, 3, 4, "")


def test_a_percentage_stays_within_its_bounds() -> None:
    ctx = Context.for_test()

    async def handler(ctx: Context) -> None:
        for percent in (150, -1, 99.5, None):
            await ctx.progress(percent)
        ctx.progress_nowait(100.5)

    asyncio.run(handler(ctx))
    assert [one.percent for one in ctx.reported] == [100, 0, 99.5, None, 100]


def test_it_can_be_told_to_end() -> None:
    ctx = Context.for_test()
    ctx.tell()
    assert [ctx.canceled] == [True]
    with pytest.raises(asyncio.CancelledError):
        ctx.check()
    ctx.tell(False)
    assert [ctx.canceled] == [False]
    ctx.check()


def test_the_time_that_is_left_can_be_changed() -> None:
    ctx = Context.for_test(remaining=10.0)
    ctx.leave(0.5)
    assert [ctx.remaining] == [0.5]
    ctx.leave(None)
    assert ctx.remaining is None


def test_it_submits_by_the_app_it_was_given() -> None:
    app = an_app()

    @app.task
    async def child(n: int) -> None: ...

    async def handler(ctx: Context) -> None:
        await ctx.submit("child", n=1)

    with app.testing() as t:
        asyncio.run(handler(Context.for_test(app=app)))
        t.submitted(child).once(n=1)
    with pytest.raises(ConfigError, match=r"for_test\(app="):
        asyncio.run(handler(Context.for_test()))


@pytest.mark.parametrize("wrong", ["", "no-colon", "a b:1"])
def test_an_id_is_one(wrong: str) -> None:
    with pytest.raises(InvalidTask):
        Context.for_test(wrong)


@pytest.mark.parametrize("wrong", [0, -1])
def test_attempts_begin_with_one(wrong: int) -> None:
    with pytest.raises(ConfigError, match="attempt"):
        Context.for_test(attempt=wrong)
