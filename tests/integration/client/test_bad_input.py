"""Every bad input is refused with a typed error that says what was wrong, and leaves nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from support.apps import declare, make_app
from xqueue_core import (
    ConfigError,
    InvalidTask,
    PayloadTooLarge,
    UnknownSetting,
    UnknownType,
    XQueue,
)
from xqueue_core.calls import Did

pytestmark = pytest.mark.anyio


def deep(levels: int) -> object:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


#: What is submitted, the error, and what it says. None of it may leave anything behind.
BAD: dict[str, tuple[Callable[[XQueue, Any], Any], type[Exception], str]] = {
    "not encodable": (
        lambda app, task: task.submit(object()),
        InvalidTask,
        "'thumbnail': cannot be encoded as JSON: objects of type `object`",
    ),
    "not encodable, by name": (
        lambda app, task: app.submit("thumbnail", path={1j}),
        InvalidTask,
        "`complex` have no JSON form",
    ),
    "too large": (
        lambda app, task: task.submit("x" * 600_000),
        PayloadTooLarge,
        "600011 bytes; at most 524288 are allowed",
    ),
    "too deep": (
        lambda app, task: task.submit(deep(10_000)),
        InvalidTask,
        "nested too deep: at most 128 levels",
    ),
    "wrong type": (
        lambda app, task: task.submit(5),
        InvalidTask,
        r"Expected `str`, got `int` - at `\$.path`",
    ),
    "missing argument": (
        lambda app, task: task.submit(width=5),
        InvalidTask,
        "missing required field `path`",
    ),
    "unknown argument": (
        lambda app, task: app.submit("thumbnail", path="a", height=5),
        InvalidTask,
        "it has no argument `height`",
    ),
    "too many arguments": (
        lambda app, task: task.submit("a", 5, 6),
        InvalidTask,
        "2 positional arguments at most, got 3",
    ),
    "unknown type": (
        lambda app, task: app.submit("thumbnial", path="a"),
        UnknownType,
        r"did you mean 'thumbnail'\? \(known: thumbnail\)",
    ),
    "no type's name": (
        lambda app, task: app.submit("a b"),
        InvalidTask,
        "a type's name is 1 to 64 of",
    ),
    "id and unique key": (
        lambda app, task: task.options(id="a", unique_key="b").submit("a"),
        InvalidTask,
        "`id` or `unique_key`, not both: 'a', 'b'",
    ),
    "bad id": (
        lambda app, task: task.options(id="a~b").submit("a"),
        InvalidTask,
        "a token is 1 to 128 of .* not 'a~b'",
    ),
    "id of another type": (
        lambda app, task: task.options(id="mail:1").submit("a"),
        InvalidTask,
        "'mail:1' is not one of type 'thumbnail'",
    ),
    "priority out of range": (
        lambda app, task: task.options(priority=10).submit("a"),
        InvalidTask,
        "option 'priority' must be a whole number from 0 to 9, not 10",
    ),
    "retries out of range": (
        lambda app, task: task.options(max_retry=-1).submit("a"),
        InvalidTask,
        "option 'max_retry' must be a whole number from 0 to 10000, not -1",
    ),
    "delay out of range": (
        lambda app, task: task.options(delay=-1).submit("a"),
        InvalidTask,
        "option 'delay' must be from 0 to 315360000 seconds, not -1",
    ),
    "naive time": (
        lambda app, task: task.options(run_at=datetime.datetime(2030, 1, 1)).submit("a"),  # noqa: DTZ001
        InvalidTask,
        "option 'run_at' needs a datetime with a time zone",
    ),
    "unknown option": (
        lambda app, task: task.options(prio=1).submit("a"),
        InvalidTask,
        "unknown option 'prio'; did you mean 'priority'",
    ),
}


@pytest.mark.parametrize("bad", BAD)
async def test_bad_input_is_refused_with_a_typed_error(app: XQueue, bad: str) -> None:
    submit, error, words = BAD[bad]
    thumbnail = declare(app)
    await thumbnail.submit("good.png")
    with pytest.raises(error, match=words) as caught:
        await submit(app, thumbnail)
    assert type(caught.value) is error
    async with app.connect() as connection:
        stats = await connection.faces.needed("view").stats()
    assert stats.total().accepted == 1


async def test_one_bad_call_among_many_is_refused_before_any_is_sent(app: XQueue) -> None:
    thumbnail = declare(app)
    with pytest.raises(InvalidTask, match=r"`\$.path`"):
        await app.submit_many(thumbnail.call(path) for path in ["a", "b", 5])
    assert await app.handle("thumbnail:x").cancel() is Did.UNKNOWN
    async with app.connect() as connection:
        assert (await connection.faces.needed("view").stats()).total().accepted == 0


def test_an_unknown_setting_is_refused_at_once(url: str) -> None:
    with pytest.raises(UnknownSetting, match=r"'concurency'.*did you mean 'concurrency'"):
        make_app(url, concurency=5)


async def test_an_unknown_section_is_refused_at_the_first_use(url: str) -> None:
    app = make_app(url, sqlight={"busy_timeout": 5})  # making it looks for no plugin
    thumbnail = declare(app)
    with pytest.raises(UnknownSetting, match=r"'sqlight'.*did you mean 'sqlite'"):
        await thumbnail.submit("a.png")
    with pytest.raises(UnknownSetting):
        async with app:
            pytest.fail("it opened")
    await app.aclose()


async def test_a_setting_out_of_range_is_refused(url: str) -> None:
    app = make_app(url, max_payload=0)
    with pytest.raises(ConfigError, match="max_payload"):
        await declare(app).submit("a.png")
    await app.aclose()


async def test_a_smaller_payload_can_be_configured(url: str) -> None:
    async with make_app(url, max_payload=20) as app:
        await declare(app).submit("a")
        with pytest.raises(PayloadTooLarge, match="21 bytes; at most 20"):
            await declare_other(app).submit("x" * 10)


def declare_other(app: XQueue) -> Any:
    @app.task
    async def other(path: str) -> None: ...

    return other


async def test_a_type_that_lives_in_another_lane_is_refused(app: XQueue) -> None:
    await declare(app).options(delay=60).submit("a.png")
    moved = make_app()
    moved._backends, moved._overrides = app._backends, app._overrides
    moved.task(name="thumbnail", lane="slow")(lambda path: None)
    async with moved:
        with pytest.raises(ConfigError, match="in lane 'slow', but has live tasks in lane 'thumb"):
            await moved.submit("thumbnail", path="b.png")
