"""Whoever writes another product's word is told XQueue's, by a typed error and a line to write."""

from __future__ import annotations

import copy
import datetime
import pickle
import pkgutil
import traceback
from collections.abc import Mapping
from typing import Any

import pytest

import xqueue_core
from support.apps import make_app
from xqueue_core import (
    ConfigError,
    Context,
    ForeignName,
    InvalidTask,
    Retry,
    RetryPolicy,
    Tasks,
    XQueue,
    foreign,
    foreign_options,
)
from xqueue_core.client.handler import Handler
from xqueue_core.client.options import DECLARED, SubmitOptions

MOMENT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def app() -> XQueue:
    return make_app()


def add(app: XQueue) -> Any:
    @app.task
    async def add(a: int) -> int:
        return a

    return add


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("delay", "'delay', which is Celery's: write `await handler.submit(...)`"),
        ("apply_async", "Celery's: write `await handler.options(delay=60).submit(...)`"),
        ("send", "dramatiq's: write `await handler.submit(...)`"),
        ("enqueue", "RQ's: write `await handler.submit(...)`"),
        ("enqueue_job", "arq's: write `await handler.submit(...)`"),
        ("kiq", "taskiq's: write `await handler.submit(...)`"),
    ],
)
def test_a_handler_tells_how_to_submit(app: XQueue, name: str, words: str) -> None:
    handler = add(app)
    for one in (handler, handler.options(priority=3), handler.sync):
        with pytest.raises(ForeignName) as caught:
            getattr(one, name)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("send_task", "Celery's: write `await app.submit('name', ...)`"),
        ("enqueue", "RQ's: write `await handler.submit(...)`"),
        ("enqueue_job", "arq's: write `await handler.submit(...)`"),
        ("actor", "dramatiq's: write `@app.task`"),
    ],
)
def test_an_app_tells_how_to_submit_and_declare(app: XQueue, name: str, words: str) -> None:
    for one in (app, app.sync):
        with pytest.raises(ForeignName) as caught:
            getattr(one, name)
        assert words in str(caught.value)


def test_tasks_handles_and_contexts_tell_theirs(app: XQueue) -> None:
    handle = app.handle("add:1")
    told: list[tuple[object, str, str]] = [
        (Tasks(), "shared_task", "write `@app.task`"),
        (handle, "get", "write `await handle.result(timeout=30)`"),
        (app.sync.handle("add:1"), "get", "`handle.result(timeout=30)` in plain code"),
        (handle, "status", "write `await handle.state()`"),
        (handle, "revoke", "write `await handle.cancel()`"),
        (handle, "failed", "write `await handle.state()`"),
        (handle, "forget", "write `@app.task(result_ttl=0)`"),
        (handle, "traceback", "has it as `error.traceback`"),
        (app.sync.handle("add:1"), "traceback", "`handle.why()` in plain code"),
        (app, "AsyncResult", "write `app.handle(id)`"),
        (app, "control", "write `await handle.cancel()` for revoke"),
        (app, "signature", "write `handler.call(...)`"),
        (add(app), "AsyncResult", "write `app.handle(id)`"),
        (add(make_app()), "apply", "write `handler(...)`, which runs the function here"),
        (add(make_app()), "request", "`ctx: Context` as the first parameter"),
        (add(make_app()), "retry", "write `raise Retry(delay=60)` in the handler"),
        (Context.for_test(), "task_id", "write `ctx.id`"),
        (Context.for_test(), "retry", "write `raise Retry(delay=60)`"),
        (Context.for_test(), "request", "write `ctx.id`"),
    ]
    for one, name, words in told:
        with pytest.raises(ForeignName) as caught:
            getattr(one, name)
        assert words in str(caught.value), name


def test_it_is_a_configuration_error_and_says_so_in_one_line(app: XQueue) -> None:
    with pytest.raises(ConfigError) as caught:
        add(app).delay(5)
    [line] = traceback.format_exception_only(caught.value)
    assert line.startswith("xqueue_core.errors.ForeignName: Handler has no 'delay'")
    assert "Did you mean" not in line
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_to_whoever_asks_the_names_are_not_there(app: XQueue) -> None:
    handler = add(app)
    for one in (handler, handler.sync, app, app.sync, app.handle("add:1"), Context.for_test()):
        for table in (foreign.SUBMITTING, foreign.APP, foreign.HANDLE, foreign.CONTEXT):
            names = {name for name in table if not hasattr(one, name)}
            assert not names & set(dir(one))
        assert "__class__" in dir(one)
    assert getattr(handler, "delay", None) is None
    assert not hasattr(Handler, "delay")
    assert {"submit", "options", "call", "sync", "name"} <= set(dir(handler))


def test_other_names_are_as_they_were(app: XQueue) -> None:
    handler = add(app)
    with pytest.raises(AttributeError) as caught:
        handler.colour  # noqa: B018
    assert type(caught.value) is AttributeError
    assert not any(hasattr(cls, "__getattr__") for cls in (Handler, XQueue, Context))
    assert copy.copy(handler).name == "add"


def test_what_a_function_has_itself_stands(app: XQueue) -> None:
    def handler(a: int) -> int:
        return a

    handler.delay = lambda a: a + 1  # type: ignore[attr-defined]
    declared: Any = app.task(handler)
    assert declared.delay(1) == 2  # say, a task of Celery while one moves from it


def test_importing_another_products_name_tells_ours() -> None:
    with pytest.raises(ConfigError, match=r"'shared_task', which is Celery's: write `@app\.task`"):
        from xqueue_core import shared_task  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'colour'"):
        from xqueue_core import colour  # noqa: F401
    modules = {one.name for one in pkgutil.iter_modules(xqueue_core.__path__)}
    assert not set(foreign.PACKAGE) & {*dir(xqueue_core), *modules}


# -- retries and schedules ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (
            Retry,
            {"countdown": 5},
            "Retry has no 'countdown', which is Celery's: write `raise Retry(5)`",
        ),
        (Retry, {"countdown": "x"}, "write `raise Retry(60)`"),
        (Retry, {"exc": ValueError()}, "write `raise Retry() from error`"),
        (Retry, {"colour": 1}, "Retry has no 'colour', (known: delay, reason)"),
        (RetryPolicy, {"max_retries": 5}, "write `@app.task(max_retry=5, retry=RetryPolicy())`"),
        (RetryPolicy, {"interval": 5}, "which is RQ's: write `retry=RetryPolicy(base=1"),
    ],
)
def test_keywords_of_retries(make: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(**given)
    assert words in str(caught.value)


def test_a_policy_is_made_and_copied_as_ever() -> None:
    policy = RetryPolicy(2, factor=3.0)
    assert (policy.base, policy.factor) == (2, 3.0)
    assert pickle.loads(pickle.dumps(policy)) == copy.copy(policy) == policy
    with pytest.raises(TypeError, match="colour"):
        RetryPolicy(colour=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("countdown", 5, "Celery's: leave it out, the schedule itself says when"),
        ("eta", MOMENT, "leave it out, the schedule itself says when"),
        ("max_retries", 5, "write `max_retry=5`, the retries after"),
        ("expires", 5, "write `queue_timeout=5`, in seconds"),
        ("queue", "slow", "write `@app.task(lane='slow')` below it"),
        ("bind", True, "write `def handler(ctx: Context, ...)`"),
    ],
)
def test_options_of_schedules(app: XQueue, name: str, value: Any, words: str) -> None:
    loose: Any = app
    for declare, rule in ((loose.every, 60), (loose.cron, "* * * * *")):
        with pytest.raises(ConfigError) as caught:
            declare(rule, **{name: value})
        assert words in str(caught.value)


# -- options --------------------------------------------------------------------------------------


#: What is written, and what is told of it in a declaration, and in the options of one task.
WRITTEN: list[tuple[str, Any, str, str]] = [
    ("countdown", 5, "write `delay=5`", "write `delay=5`"),
    ("eta", MOMENT, "write `handler.options(run_at=datetime.", "write `run_at=datetime.datetime"),
    ("time_limit", 30, "write `process_timeout=30`, in seconds", "write `process_timeout=30`"),
    ("max_retries", 5, "write `max_retry=5`, the retries after", "write `max_retry=5`"),
    ("autoretry_for", (OSError,), "write `retry=RetryPolicy(no_retry=", "`@app.task(retry=Retry"),
    ("queue", "slow", "write `lane='slow'`", "write `@app.task(lane='slow')`"),
    ("time_limit", "1h", "write `process_timeout=30`, in seconds", "write `process_timeout=30`"),
    ("expires", 5, "write `queue_timeout=5`, in seconds", "write `queue_timeout=5`"),
    ("expires", MOMENT, "write `queue_timeout=600`", "write `queue_timeout=600`"),
    ("expires", True, "write `queue_timeout=600`", "write `queue_timeout=600`"),
    ("max_age", 60_000, "`queue_timeout=600`, in seconds, not milliseconds", "`queue_timeout=600`"),
    ("serializer", "pickle", "leave it out: arguments travel as JSON", "leave it out: arguments"),
    ("base", object, "write what is around each run as middleware", "as middleware"),
    ("link", None, "submit what comes next, by `await other.submit(...)`", "comes next"),
    ("bind", True, "write `def handler(ctx: Context, ...)`", "write `def handler(ctx: Context"),
    ("acks_late", True, "leave it out: a task is held", "leave it out"),
    ("queue_name", "x" * 100, "write `lane=...`", "write `@app.task(lane=...)`"),
    ("task_id", "a", "write `handler.options(id='a')`", "write `id='a'`"),
]


@pytest.mark.parametrize(("name", "value", "at_type", "at_task"), WRITTEN)
def test_an_option_of_another_product(
    app: XQueue, name: str, value: Any, at_type: str, at_task: str
) -> None:
    def handler(self: int, a: int) -> None: ...

    loose: Any = app
    with pytest.raises(ConfigError) as caught:
        loose.task(**{name: value})(handler)
    assert f"unknown option {name!r}, which is " in str(caught.value)
    assert at_type in str(caught.value)
    with pytest.raises(InvalidTask) as refused:
        add(app).options(**{name: value})
    assert at_task in str(refused.value)


def test_an_option_among_the_arguments(app: XQueue) -> None:
    handler = add(app)
    for given, words in (
        (
            {"countdown": 5},
            "the arguments do not fit 'add': it has no argument `countdown`, which is Celery's: "
            "write `handler.options(delay=5)`",
        ),
        ({"delay": 5}, "`delay`, which is an option: write `handler.options(delay=...).submit("),
        ({"queue": "x"}, "write `@app.task(lane='x')`"),
        ({"_job_id": "x"}, "arq's: write `handler.options(id='x')`"),
    ):
        with pytest.raises(InvalidTask) as caught:
            handler.call(1, **given)
        assert words in str(caught.value)
    with pytest.raises(InvalidTask, match=r"'add': it has no argument `colour` \(arguments: a\)$"):
        handler.call(1, colour="red")


def test_an_argument_may_have_any_name(app: XQueue) -> None:
    @app.task
    def moved(queue: str, delay: int, **more: int) -> None: ...

    assert moved.call("a", delay=5, countdown=7).task.payload.count(b"countdown") == 1


def test_the_habit_of_self_is_told_of_the_context(app: XQueue) -> None:
    with pytest.raises(ConfigError, match=r"to be given the context, write `ctx: Context` in"):

        @app.task
        def handler(self, a: int) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


def test_the_tables_name_nothing_of_our_own() -> None:
    ours = {*SubmitOptions.__annotations__, *DECLARED}
    assert not ours & {*foreign_options.OPTIONS, *foreign_options.WITHOUT}
    assert not set(xqueue_core.__all__) & set(foreign.PACKAGE)
    tables: list[Mapping[str, Any]] = [foreign.SUBMITTING, foreign.APP, foreign.DECLARING]
    tables += [foreign.HANDLE, foreign.CONTEXT, foreign.PACKAGE]
    assert all(word.line.count("`") % 2 == 0 for table in tables for word in table.values())
