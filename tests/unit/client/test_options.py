"""Options: each value is checked, and what is refused is told with name, value and range."""

from __future__ import annotations

import datetime
import inspect
from typing import Any

import pytest

from xqueue_core import XQueue
from xqueue_core.calls import Edit
from xqueue_core.client.options import (
    DECLARED,
    LATEST,
    LONGEST,
    SubmitOptions,
    TaskOptions,
    declared,
)
from xqueue_core.errors import ConfigError, InvalidTask, PayloadTooLarge

pytestmark = pytest.mark.anyio

#: Each option with values that are out of its range, and words that must be in the message.
WRONG: list[tuple[str, Any, str]] = [
    ("priority", -1, "from 0 to 9, not -1"),
    ("priority", 10, "from 0 to 9, not 10"),
    ("priority", 1.0, "from 0 to 9, not 1.0"),
    ("priority", True, "from 0 to 9, not True"),
    ("max_retry", -1, "from 0 to 10000, not -1"),
    ("max_retry", 10_001, "from 0 to 10000, not 10001"),
    ("max_retry", None, "from 0 to 10000, not None"),
    ("queue_timeout", 0, "above 0 to 315360000 seconds or None, not 0"),
    ("queue_timeout", -1.5, "above 0"),
    ("process_timeout", 0, "above 0"),
    ("process_timeout", LONGEST * 2, "to 315360000 seconds"),
    ("process_timeout", "60", "not '60'"),
    ("process_timeout", float("nan"), "not nan"),
    ("delay", -0.1, "from 0 to 315360000 seconds, not -0.1"),
    ("delay", float("inf"), "not inf"),
    ("delay", None, "not None"),
    ("delay", datetime.timedelta(seconds=-1), "from 0"),
    ("unique_for", 0, "above 0"),
    ("result_ttl", -1, "from 0"),
    ("headers", {"a": 1}, "must map texts to texts"),
    ("headers", ["a"], "must map texts to texts"),
    ("headers", {"a": "x" * 20_000}, "at most 16384 characters, it has 20001"),
    ("headers", {"a": "caf\udce9"}, r"'headers' has a lone surrogate, so UTF-8 cannot have it"),
    ("headers", {"caf\udce9": "a"}, r"'caf\udce9'"),
]
WRONG_FOR_ONE: list[tuple[str, Any, str]] = [
    ("run_at", datetime.datetime(2024, 1, 1), "with a time zone"),  # noqa: DTZ001
    ("run_at", -1, "from 0"),
    ("run_at", LATEST, "UTC seconds from 0"),
    ("run_at", "tomorrow", "not 'tomorrow'"),
    ("unique_key", "", "1 to 512 characters, not ''"),
    ("unique_key", "x" * 513, "1 to 512"),
    ("unique_key", 7, "not 7"),
    ("id", 7, "must be a text, not 7"),
    ("colour", "red", "unknown option 'colour' (known: delay, headers"),
]


@pytest.mark.parametrize(("name", "value", "words"), WRONG + WRONG_FOR_ONE)
def test_a_wrong_value_for_one_task_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidTask) as caught:
        TaskOptions().but({name: value})
    assert words in str(caught.value)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(("name", "value", "words"), WRONG)
def test_a_wrong_value_in_a_declaration_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declared({name: value})
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["id", "unique_key", "run_at"])
def test_what_is_for_one_task_cannot_be_declared(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"give it with .options\({name}=...\)"):
        declared({name: "a"})


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("priority", 0, 0),
        ("priority", 9, 9),
        ("max_retry", 0, 0),
        ("max_retry", 10_000, 10_000),
        ("queue_timeout", None, None),
        ("queue_timeout", 0.001, 0.001),
        ("process_timeout", None, None),
        ("process_timeout", datetime.timedelta(minutes=2), 120.0),
        ("delay", 0, 0.0),
        ("delay", LONGEST, LONGEST),
        ("run_at", datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC), 86_400.0),
        ("run_at", 12.5, 12.5),
        ("unique_key", "x" * 512, "x" * 512),
        ("id", "a", "a"),
        ("headers", {"a": "b"}, {"a": "b"}),
        ("result_ttl", 0, 0.0),
    ],
)
def test_a_value_within_the_range_is_kept(name: str, value: Any, kept: Any) -> None:
    assert getattr(TaskOptions().but({name: value}), name) == kept


def test_an_unknown_option_of_a_declaration_names_what_a_declaration_takes() -> None:
    with pytest.raises(ConfigError) as caught:
        declared({"max_retrys": 3})
    assert str(caught.value) == (
        "unknown option 'max_retrys'; did you mean 'max_retry'? (known: content_type, delay, "
        "headers, isolation, key, key_concurrency, lane, max_concurrency, max_memory, max_retry, "
        "name, priority, process_timeout, queue_timeout, result_ttl, retry, unique_for)"
    )
    with pytest.raises(ConfigError, match="did you mean 'key_concurrency' or 'max_concurrency'"):
        declared({"concurrency": 3})


def test_a_part_of_a_name_suggests_all_options_that_have_it() -> None:
    meant = "'timeout'; did you mean 'process_timeout' or 'queue_timeout'"
    with pytest.raises(ConfigError, match=meant):
        declared({"timeout": 30})
    with pytest.raises(InvalidTask, match=meant):
        TaskOptions().but({"timeout": 30})


@pytest.mark.parametrize("name", ["isolation", "max_memory", "lane"])
def test_an_option_of_a_type_is_none_of_one_task(name: str) -> None:
    with pytest.raises(InvalidTask, match=f"{name!r} is for a type: give it to @app.task"):
        TaskOptions().but({name: 1})


def test_what_a_declaration_takes_is_what_is_told() -> None:
    parameters = set(inspect.signature(XQueue.task).parameters) - {"self", "function", "options"}
    assert parameters == set(DECLARED)


@pytest.mark.parametrize(
    ("edit", "delay", "error", "words"),
    [
        (Edit(priority=99), 0, InvalidTask, "'priority' must be a whole number from 0 to 9"),
        (Edit(max_retry=2**70), 0, InvalidTask, "'max_retry' must be a whole number from 0"),
        (Edit(process_timeout=-1), 0, InvalidTask, "'process_timeout' must be above 0"),
        (Edit(payload=b"1" * 2_000_000), 0, PayloadTooLarge, "2000000 bytes"),
        (Edit(payload={"n": 1}), 0, InvalidTask, "'payload' must be encoded, as bytes, not dict"),  # type: ignore[arg-type]
        (None, float("nan"), InvalidTask, "'delay' must be from 0"),
        (None, float("inf"), InvalidTask, "'delay' must be from 0"),
        ({"priority": 1}, 0, InvalidTask, "'edit' must be an Edit, not {'priority': 1}"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_replay_out_of_range_is_refused(
    edit: Any, delay: float, error: type[Exception], words: str
) -> None:
    handle = XQueue("memory://").handle("type:1")
    with pytest.raises(error, match=words):
        await handle.replay(edit=edit, delay=delay)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "`delay` or `run_at`, and neither was given"),
        ({"delay": 1, "run_at": 1}, "`delay` or `run_at`, and both were given"),
        ({"delay": -1}, "'delay' must be from 0"),
        ({"delay": datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)}, "write run_at="),
        ({"run_at": datetime.datetime(2030, 1, 1)}, "needs a datetime with a time zone"),  # noqa: DTZ001
        ({"run_at": datetime.timedelta(1)}, "write delay="),
    ],
    ids=repr,
)
async def test_a_new_time_out_of_range_is_refused(given: Any, words: str) -> None:
    handle = XQueue("memory://").handle("type:1")
    with pytest.raises(InvalidTask, match=words):
        await handle.reschedule(**given)


async def test_a_reason_that_cannot_be_sent_is_refused() -> None:
    handle = XQueue("memory://").handle("type:1")
    with pytest.raises(InvalidTask, match="'reason' has a lone surrogate"):
        await handle.cancel("caf\udce9")
    with pytest.raises(InvalidTask, match="'reason' must be a text, not 5"):
        await handle.cancel(5)  # type: ignore[arg-type]


def test_options_are_merged_over_earlier_ones() -> None:
    first = declared({"priority": 3, "delay": 5})
    second = first.but({"max_retry": 0})
    assert (second.priority, second.delay, second.max_retry) == (3, 5.0, 0)
    assert first.max_retry == 3


def test_id_and_unique_key_exclude_each_other() -> None:
    with pytest.raises(InvalidTask, match="`id` or `unique_key`, not both: 'a', 'b'"):
        TaskOptions().but({"id": "a", "unique_key": "b"})
    with pytest.raises(InvalidTask, match="not both"):
        TaskOptions().but({"id": "a"}).but({"unique_key": "b"})


def test_delay_and_run_at_exclude_each_other_in_one_breath() -> None:
    with pytest.raises(InvalidTask, match="`delay` or `run_at`, not both"):
        TaskOptions().but({"delay": 1, "run_at": 5})


def test_the_later_of_delay_and_run_at_counts() -> None:
    later = declared({"delay": 9}).but({"run_at": 5})
    assert (later.delay, later.run_at) == (0.0, 5.0)
    again = later.but({"delay": 2})
    assert (again.delay, again.run_at) == (2.0, None)


def test_unique_for_needs_a_unique_key() -> None:
    with pytest.raises(InvalidTask, match="how long a `unique_key` is held; none is given"):
        TaskOptions().but({"unique_for": 5})
    assert declared({"unique_for": 5}).but({"unique_key": "a"}).unique_for == 5.0


def test_what_type_checkers_know_is_what_is_checked() -> None:
    known = set(SubmitOptions.__required_keys__ | SubmitOptions.__optional_keys__)
    assert known == set(TaskOptions.__dataclass_fields__)


@pytest.mark.parametrize("value", ["1", True, [1]])
def test_a_duration_of_the_wrong_type_is_told_so(value: Any) -> None:
    kind = type(value).__name__
    with pytest.raises(InvalidTask) as caught:
        TaskOptions().but({"delay": value})
    assert str(caught.value) == (
        f"option 'delay' must be a number of seconds or a timedelta, not {value!r} (a {kind})"
    )
