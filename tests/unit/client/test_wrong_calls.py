"""What is easily written by mistake is refused at once, with one sentence on what to write."""

from __future__ import annotations

import datetime
import json as a_module
import math
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.apps import make_app
from xqueue_core import ConfigError, Context, InvalidTask, XQueue, as_completed
from xqueue_core.worker import Worker

if TYPE_CHECKING:
    from xqueue_core.nowhere import Missing  # type: ignore[import-not-found]

pytestmark = pytest.mark.anyio

MOMENT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def app() -> XQueue:
    return make_app()


def add(app: XQueue) -> Any:
    @app.task
    async def add(a: int) -> int:
        return a

    return add


#: What is given to ``submit_many``, and what is said of it.
MANY: dict[str, tuple[Callable[[Any], Any], str]] = {
    "coroutines": (
        lambda add: [add.call(1), add.submit(1), add.submit(2)],
        r"this is a coroutine, as of `handler.submit\(...\)`: write `handler.call\(...\)`",
    ),
    "one coroutine": (lambda add: add.submit(1), "this is a coroutine"),
    "one call": (lambda add: add.call(1), "takes many calls, and this is a single one: put it"),
    "a handle": (
        lambda add: [add._client.handle("add:1")],
        r"the handle of a task that was submitted: write `handler.call\(...\)`",
    ),
    "a handler": (lambda add: [add], r"this is a handler: write `add.call\(...\)` instead"),
    "arguments": (lambda add: [1, 2], r"this is 1: write `handler.call\(...\)` for each task"),
    "no list": (lambda add: 5, r"this is 5: write `handler.call\(...\)` for each task"),
}


@pytest.mark.parametrize("what", MANY)
async def test_submit_many_says_what_it_takes(app: XQueue, what: str) -> None:
    give, words = MANY[what]
    handler = add(app)
    with pytest.raises(InvalidTask, match=words):
        await app.submit_many(give(handler))
    with pytest.raises(InvalidTask, match=words):  # before it minds the loop
        app.sync.submit_many(give(handler))


async def test_a_handle_of_plain_code_is_no_call(app: XQueue) -> None:
    with pytest.raises(InvalidTask, match="the handle of a task that was submitted"):
        app.sync.submit_many([app.sync.handle("add:1")])  # type: ignore[arg-type]


def test_a_delay_is_no_moment_and_a_moment_no_delay(app: XQueue) -> None:
    handler = add(app)
    with pytest.raises(InvalidTask, match=r"for a moment write run_at=datetime.datetime\(2030"):
        handler.options(delay=MOMENT)
    with pytest.raises(InvalidTask, match=r"for how long to wait write delay=datetime.timedelta"):
        handler.options(run_at=datetime.timedelta(seconds=5))


@pytest.mark.parametrize(
    ("timeout", "error", "words"),
    [
        ("1", TypeError, "a number of seconds, such as timeout=30, or None, not '1'"),
        (True, TypeError, "not True"),
        (datetime.timedelta(minutes=1), TypeError, "or None: write timeout=60"),
        (math.nan, ValueError, "or None to wait for ever, not NaN"),
    ],
)
async def test_a_timeout_is_a_number_of_seconds(
    app: XQueue, timeout: Any, error: type[Exception], words: str
) -> None:
    handle, plain = app.handle("add:1"), app.sync.handle("add:1")
    waits: list[Callable[[], Awaitable[Any]]] = [
        lambda: handle.result(timeout=timeout),
        lambda: handle.wait(timeout),
    ]
    for wait in waits:
        with pytest.raises(error, match=words):
            await wait()
    for call in (
        lambda: plain.result(timeout=timeout),
        lambda: plain.wait(timeout),
        lambda: as_completed([handle], timeout=timeout),
        lambda: app.sync.as_completed([plain], timeout=timeout),
    ):
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"concurrency": "2-10"},
            "concurrency is a whole number, not '2-10': write min_concurrency=2, concurrency=10",
        ),
        ({"concurrency": 2.5}, "concurrency is a whole number, not 2.5$"),
        ({"threads": True}, "threads is a whole number, not True"),
        ({"grace": "5"}, "grace is a number of seconds, not '5'"),
        ({"lanes": "slow"}, r"lanes are a list of names: write lanes=\['slow'\]"),
        ({"concurency": 5}, "no option 'concurency'; did you mean 'concurrency'"),
    ],
)
def test_a_worker_says_what_its_options_are(app: XQueue, options: Any, words: str) -> None:
    add(app)
    with pytest.raises(ConfigError, match=words):
        Worker(app, **options)


# -- at the declaration ---------------------------------------------------------------------------


def test_a_method_is_no_handler(app: XQueue) -> None:
    with pytest.raises(ConfigError, match=r"`self` of .*Mailer.send\(\) would be an argument"):

        class Mailer:
            @app.task
            def send(self, to: str) -> None: ...

    @app.task
    def fine(self: int) -> None: ...

    class Other:
        @app.task
        @staticmethod
        def sent(to: str) -> str:
            return to

        def bound(self, to: str) -> None: ...

    assert Other.sent("a") == "a"
    app.task(Other().bound)
    assert sorted(app.handlers) == ["bound", "fine", "sent"]


def test_what_a_module_lacks_is_found_at_the_declaration(app: XQueue) -> None:
    with pytest.raises(ConfigError, match=r"'a_module.Missing' names what there is not: module"):

        @app.task
        def handler(a: a_module.Missing) -> None: ...  # type: ignore[name-defined]


@pytest.mark.parametrize("hint", ["list[", "1 +", "int | 5"])
def test_an_annotation_without_meaning_is_found_at_the_declaration(app: XQueue, hint: str) -> None:
    def handler(a: Any) -> None: ...

    handler.__annotations__["a"] = hint
    with pytest.raises(ConfigError, match=r"the annotation .* means nothing"):
        app.task(handler)


def test_what_may_come_later_is_not_refused(app: XQueue) -> None:
    @app.task
    def handler(a: Missing) -> None: ...

    with pytest.raises(ConfigError, match=r"handler\(\) cannot be resolved"):
        handler.call(1)
    with pytest.raises(ConfigError, match=r"handler\(\) cannot be resolved"):
        Worker(app)  # by now it should be there


async def one(ctx: Context) -> None: ...


async def three(ctx: Context, call_next: Any, more: int) -> None: ...


async def fine(ctx: Context, *more: Any) -> None: ...


class Called:
    async def __call__(self, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (one, r"write `async def one\(ctx, call_next\)`, not one\(ctx: 'Context'\)"),
        (three, r"write `async def three\(ctx, call_next\)`"),
        (Called(), r"write `async def middleware\(ctx, call_next\)`"),
    ],
)
def test_middleware_takes_two(layer: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        XQueue("memory://", middleware=[layer])
    XQueue("memory://", middleware=[fine])


def test_a_lifespan_takes_the_app() -> None:
    @asynccontextmanager
    async def none() -> Any:
        yield

    wrong: Any = none
    with pytest.raises(ConfigError, match=r"write `async def none\(app\)`, not none\(\)"):
        XQueue("memory://", lifespan=wrong)
