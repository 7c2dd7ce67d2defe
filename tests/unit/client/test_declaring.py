"""``@app.task``: what a declaration keeps, and which ones are refused."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from xqueue_core import Context, RetryPolicy, XQueue
from xqueue_core.client.declaring import unknown_type
from xqueue_core.client.handler import Handler
from xqueue_core.errors import ConfigError, InvalidTask, PayloadTooLarge
from xqueue_core.payload import BYTES


@pytest.fixture
def app() -> XQueue:
    return XQueue("memory://")


def test_a_bare_declaration_has_the_defaults(app: XQueue) -> None:
    @app.task
    async def mail(ctx: Context, to: str) -> None: ...

    spec = app.handlers["mail"]
    assert (spec.name, spec.lane, spec.is_async, spec.takes_context) == ("mail", "mail", True, True)
    assert (spec.options.max_retry, spec.options.process_timeout) == (3, 60.0)
    assert (spec.max_concurrency, spec.key, spec.key_concurrency) == (None, None, None)
    assert spec.retry == RetryPolicy()
    assert repr(mail) == "<Handler 'mail' in lane 'mail'>"


def test_a_declaration_keeps_what_it_is_told(app: XQueue) -> None:
    policy = RetryPolicy(base=2)

    @app.task(
        name="send.mail",
        lane="slow",
        max_concurrency=10,
        key="user_{user}",
        key_concurrency=3,
        retry=policy,
        priority=4,
        process_timeout=None,
        headers={"a": "b"},
    )
    def mail(user: int) -> None: ...

    spec = app.handlers["send.mail"]
    assert (spec.lane, spec.is_async, spec.takes_context) == ("slow", False, False)
    assert (spec.max_concurrency, spec.key_concurrency, spec.retry) == (10, 3, policy)
    call = mail.options(delay=5).call(7)
    task = call.task
    assert task.type == "send.mail"
    assert (task.lane, task.payload, task.priority, task.delay) == ("slow", b'{"user":7}', 4, 5.0)
    assert (task.key, task.key_limit, task.headers) == ("user_7", 3, {"a": "b"})
    assert task.process_timeout is None


async def add(a: int, b: int = 1) -> int:
    """Adds."""
    return a + b


@pytest.mark.anyio
async def test_calling_a_handler_runs_its_function(app: XQueue) -> None:
    handler = app.task(add)
    assert await handler(1, b=2) == 3
    assert isinstance(handler, Handler)
    assert (handler.name, handler.__doc__, handler.__wrapped__) == ("add", "Adds.", add)  # type: ignore[attr-defined]


def test_a_call_is_checked_where_it_is_made(app: XQueue) -> None:
    handler = app.task(add)
    wrong: Any = "one"
    with pytest.raises(InvalidTask, match=r"do not fit 'add': Expected `int`.*`\$.a`"):
        handler.call(wrong)


def test_a_generated_id_is_not_remembered_and_a_given_one_is(app: XQueue) -> None:
    handler = app.task(add)
    plain, again = handler.call(1), handler.call(1)
    assert plain.id != again.id
    assert not plain.task.remember
    given = handler.options(id="one").call(1)
    assert (given.id, given.task.remember, given.task.unique_key) == ("add:one", True, None)
    unique = handler.options(unique_key="k", unique_for=5).call(1)
    assert unique.id.startswith(f"add:k{unique.task.unique_key}~")
    assert unique.task.remember
    assert unique.task.unique_for == 5.0


def test_a_declared_unique_for_counts_for_tasks_with_a_key(app: XQueue) -> None:
    handler = app.task(unique_for=9)(add)
    assert handler.call(1).task.unique_for is None
    assert handler.options(unique_key="k").call(1).task.unique_for == 9.0


def test_a_key_uses_defaults_and_must_not_be_empty(app: XQueue) -> None:
    @app.task(key="{user}", key_concurrency=1)
    def mail(user: str = "nobody") -> None: ...

    assert mail.call().task.key == "nobody"
    with pytest.raises(InvalidTask, match="1 to 512 characters, not ''"):
        mail.call("")


def test_bytes_are_carried_as_they_are(app: XQueue) -> None:
    @app.task(content_type=BYTES)
    def store(body: bytes) -> None: ...

    task = store.call(b"\0\xff").task
    assert (task.payload, task.content_type) == (b"\0\xff", BYTES)
    assert app.handlers["store"].arguments(task.payload, BYTES) == {"body": b"\0\xff"}


def test_a_payload_that_is_too_large_for_any_broker_is_refused(app: XQueue) -> None:
    @app.task
    def store(text: str) -> None: ...

    with pytest.raises(PayloadTooLarge, match="the encoded payload has 600011 bytes"):
        store.call("x" * 600_000)


def test_a_type_is_declared_once(app: XQueue) -> None:
    def other() -> None: ...

    app.task(add)
    match = r"'add' is declared twice: by .*\.add \(.*\.py:\d+\) and .*\.other \(.*:\d+\);"
    with pytest.raises(ConfigError, match=match):
        app.task(name="add")(other)
    with pytest.raises(ConfigError, match=r"add .* is a task already"):
        app.task(add)


def test_a_function_may_be_declared_by_two_apps(app: XQueue) -> None:
    other = XQueue("memory://")
    other.task(app.task(add))
    assert other.handlers["add"].function is add
    assert other.handlers["add"].is_async


def test_types_of_a_lane_agree_on_its_limit(app: XQueue) -> None:
    app.task(lane="slow", max_concurrency=2)(add)
    with pytest.raises(ConfigError, match=r"share the lane 'slow'.*max_concurrency=2 and None"):
        app.task(name="other", lane="slow")(add)
    app.task(name="third", lane="slow", max_concurrency=2)(add)
    assert sorted(app.handlers) == ["add", "third"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "a b"}, "1 to 64 of A-Z.*not 'a b'"),
        ({"name": ""}, "1 to 64"),
        ({"lane": "ä"}, "1 to 64"),
        ({"max_concurrency": 0}, "'max_concurrency' must be a whole number from 1"),
        ({"max_concurrency": "3"}, "not '3'"),
        ({"key_concurrency": 1}, "key_concurrency, but no key"),
        ({"key": "{a}", "key_concurrency": 0}, "'key_concurrency' must be a whole number from 1"),
        ({"key": "user_{c}"}, r"names 'c', which is no argument of it \(arguments: a, b\)"),
        ({"key": "{a.real}"}, "names 'a.real', which is no argument"),
        ({"key": "{}"}, "names ''"),
        ({"key": "{a"}, "is no template"),
        ({"priority": 10}, "'priority' must be a whole number from 0 to 9, not 10"),
        ({"id": "x"}, "is for one task"),
        ({"colour": "red"}, "unknown option 'colour'"),
        ({"content_type": "text/x"}, "no serializer for 'text/x'"),
    ],
)
def test_a_wrong_declaration_is_refused(app: XQueue, arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        app.task(**arguments)(add)
    assert not app.handlers


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (generator, "is a generator"),
        (async_generator, "is a generator"),
        (functools.partial(add, 1), "a handler is a function"),
        (7, "a handler is a function, not 7"),
        (lambda: None, "a lambda has no name"),
    ],
)
def test_what_is_no_handler_is_refused(app: XQueue, function: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        app.task(function)


def test_an_unknown_type_names_the_known_ones_and_the_nearest() -> None:
    error = unknown_type("thumbnial", {"mail", "thumbnail"})
    assert str(error) == (
        "no task type is named 'thumbnial'; did you mean 'thumbnail'? (known: mail, thumbnail)"
    )
    assert "(known: none)" in str(unknown_type("a", set()))


def test_local_types_in_annotations_are_found(app: XQueue) -> None:
    class Local:
        pass

    @app.task
    def handler(ctx: Context, local: list[Local] | None = None) -> None: ...

    assert app.handlers["handler"].takes_context
    assert handler.call(None).task.payload == b'{"local":null}'


def test_a_result_is_encoded_and_decoded(app: XQueue) -> None:
    app.task(add)
    spec = app.handlers["add"]
    assert spec.decode_result(spec.encode_result(3), "application/json") == 3
    assert spec.decode_result(b"\0", BYTES) == b"\0"
    with pytest.raises(InvalidTask, match="the result of 'add' cannot be encoded"):
        spec.encode_result(object())
    with pytest.raises(InvalidTask, match="does not fit the return annotation of 'add'"):
        spec.decode_result(b'"x"', "")


def test_arguments_of_a_worker_are_checked_too(app: XQueue) -> None:
    app.task(add)
    spec = app.handlers["add"]
    assert spec.arguments(b'{"a":1}', "application/json") == {"a": 1}
    with pytest.raises(InvalidTask, match=r"do not fit 'add': Expected `int`.*`\$.a`"):
        spec.arguments(b'{"a":"1"}', "application/json")


@pytest.mark.parametrize(
    ("retry", "words"),
    [
        (3, "retry takes a RetryPolicy, not 3; for the number of retries use max_retry=3"),
        (RetryPolicy, r"retry takes a RetryPolicy, not .*; make one: RetryPolicy\(\)"),
        (True, "retry takes a RetryPolicy, not True$"),
        (0, "use max_retry=0"),
    ],
    ids=repr,
)
def test_a_retry_that_is_no_policy_is_refused(app: XQueue, retry: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):

        @app.task(retry=retry)
        async def mail() -> None: ...


def test_a_task_above_a_schedule_is_told_the_right_order(app: XQueue) -> None:
    @app.every(60)
    async def tick() -> None: ...

    with pytest.raises(
        ConfigError, match=r"tick .* is a task already: put @app.task below @app.every"
    ):
        app.task(tick)


def test_a_lambda_needs_a_name(app: XQueue) -> None:
    with pytest.raises(ConfigError, match=r"a lambda has no name: give it one, name="):
        app.task(lambda: None)
    assert app.task(name="named")(lambda: None).name == "named"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (
            "customer",
            r"the key 'customer' of type 'job' is the same for every task.*\"\{customer\}\"",
        ),
        (
            lambda customer: customer,
            r"is a template over its arguments, not <func.*key=\"\{customer\}\"",
        ),
        (5, r"is a template over its arguments, not 5"),
    ],
)
def test_a_key_that_was_meant_to_be_an_argument(app: XQueue, key: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):

        @app.task(key=key, key_concurrency=1)
        def job(customer: str) -> None: ...


def test_a_key_may_be_the_same_for_all(app: XQueue) -> None:
    @app.task(key="customers", key_concurrency=1)
    def job(customer: str) -> None: ...

    assert app.handlers["job"].key_of({"customer": "a"}) == "customers"
