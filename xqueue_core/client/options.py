"""A task's options: what each means, and the check of every value before it leaves the process."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypedDict

from xqueue_core.calls import Edit
from xqueue_core.errors import ConfigError, InvalidTask
from xqueue_core.foreign_options import Whose, option_hint
from xqueue_core.payload import check_size
from xqueue_core.task import RESULT_TTL

#: Longest duration an option may name: ten years (seconds).
LONGEST = 10 * 365 * 86_400.0
#: Most retries of one task.
MOST_RETRIES = 10_000
#: Most characters of a wrong value in a message.
SHOWN = 80
#: Longest unique key and concurrency key (characters).
LONGEST_KEY = 512
#: Largest sum of the lengths of all header names and values (characters).
LARGEST_HEADERS = 16_384
#: Latest ``run_at``: the start of the year 10000 (UTC seconds).
LATEST = 253_402_300_800.0

#: What a declaration takes besides the options of its tasks.
DECLARED = (
    "name",
    "lane",
    "max_concurrency",
    "key",
    "key_concurrency",
    "retry",
    "content_type",
    "isolation",
    "max_memory",
)

Seconds = float | timedelta


class TypeOptions(TypedDict, total=False):
    """Options that a type may declare as the default of its tasks."""

    priority: int
    max_retry: int
    queue_timeout: Seconds | None
    process_timeout: Seconds | None
    delay: Seconds
    unique_for: Seconds | None
    headers: Mapping[str, str]
    result_ttl: Seconds


class SubmitOptions(TypeOptions, total=False):
    """Options of one task, as ``.options(...)`` takes them."""

    run_at: datetime | float | None
    unique_key: str | None
    id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of one task, or a type's defaults for them.

    Attributes:
        priority: 0 to 9, higher first.
        max_retry: retries after the first attempt, 0 to 10000.
        queue_timeout: longest wait once due (seconds); None waits for ever.
        process_timeout: longest run of one attempt (seconds); None runs for ever.
        delay: from acceptance until it may start (seconds), by the broker's clock.
        run_at: instead of ``delay``: when it may start (UTC seconds).
        unique_key: a second task of the type with this key is a duplicate of the first ...
        unique_for: ... for this long (seconds), or until the first has ended (None).
        id: the token of the task's id, or the whole id; excludes ``unique_key``.
        headers: text that travels with the task.
        result_ttl: how long the result is kept (seconds).
    """

    priority: int = 0
    max_retry: int = 3
    queue_timeout: float | None = None
    process_timeout: float | None = 60.0
    delay: float = 0.0
    run_at: float | None = None
    unique_key: str | None = None
    unique_for: float | None = None
    id: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    result_ttl: float = RESULT_TTL

    def but(self, given: Mapping[str, Any]) -> TaskOptions:
        """These options with some replaced, checked. Raises InvalidTask naming the option."""
        if not given:
            return self
        new = replace(self, **_checked(given, InvalidTask))
        if new.id is not None and new.unique_key is not None:
            raise InvalidTask(
                f"a task takes `id` or `unique_key`, not both: {new.id!r}, {new.unique_key!r}"
            )
        if new.delay and new.run_at is not None:
            if "delay" in given and "run_at" in given:
                raise InvalidTask(
                    f"a task takes `delay` or `run_at`, not both: {new.delay!r}, {new.run_at!r}"
                )
            # The one given now replaces the other, which was set before.
            new = replace(new, delay=0.0) if "run_at" in given else replace(new, run_at=None)
        if given.get("unique_for") is not None and new.unique_key is None:
            raise InvalidTask("`unique_for` says how long a `unique_key` is held; none is given")
        return new


def declared(given: Mapping[str, Any]) -> TaskOptions:
    """A type's default options. Raises ConfigError for one that is unknown or out of range."""
    for name in given:
        if name in TaskOptions.__dataclass_fields__ and name not in TypeOptions.__annotations__:
            raise ConfigError(f"option {name!r} is for one task: give it with .options({name}=...)")
    known = {*TypeOptions.__annotations__, *DECLARED}
    return TaskOptions(**_checked(given, ConfigError, known))


def check_edit(edit: Edit | None, delay: float) -> None:
    """The options of a replay. Raises InvalidTask (or PayloadTooLarge) naming the wrong one."""
    _CHECKS["delay"]("delay", delay, InvalidTask)
    given: object = edit
    if edit is None:
        return
    if not isinstance(given, Edit):
        raise InvalidTask(f"option 'edit' must be an Edit, not {edit!r}")
    for name in Edit.__struct_fields__:
        value = getattr(edit, name)
        if value is not None and name in _CHECKS:
            _CHECKS[name](name, value, InvalidTask)
    if edit.payload is not None:
        payload: object = edit.payload
        if not isinstance(payload, bytes):
            kind = type(payload).__name__
            raise InvalidTask(f"option 'payload' must be encoded, as bytes, not {kind}")
        check_size(payload)


def check_time(delay: object, run_at: object) -> tuple[float, float | None]:
    """Delay (0 if there is none) and moment of a new time. Raises InvalidTask naming the wrong."""
    if (delay is None) == (run_at is None):
        given = "both were" if run_at is not None else "neither was"
        raise InvalidTask(f"a new time is `delay` or `run_at`, and {given} given")
    if delay is not None:
        return _CHECKS["delay"]("delay", delay, InvalidTask), None
    return 0.0, _CHECKS["run_at"]("run_at", run_at, InvalidTask)


_Error = type[ConfigError] | type[InvalidTask]
_Check = Callable[[str, Any, _Error], Any]


def _checked(
    given: Mapping[str, Any], error: _Error, known: Collection[str] = ()
) -> dict[str, Any]:
    checked = {}
    for name, value in given.items():
        if (check := _CHECKS.get(name)) is None:
            if not known and name in DECLARED:
                raise error(f"option {name!r} is for a type: give it to @app.task({name}=...)")
            if hint := option_hint(name, value, Whose.TYPE if known else Whose.TASK):
                raise error(f"unknown option {name!r}, {hint}")
            raise error(f"unknown option {alternatives(name, known or _CHECKS)}")
        checked[name] = check(name, value, error)
    return checked


def alternatives(name: str, known: Collection[str]) -> str:
    """An option that there is not, those it may stand for, and all there are."""
    names = sorted(known)
    # A part of names, such as `timeout`, may mean any of them; else it is misspelt.
    near = [one for one in names if name in one.split("_")]
    near = near or difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"{name!r}{hint} (known: {', '.join(names)})"


def misplaced(name: str, value: object) -> str:
    """What to write for an option, ours or another product's, that stands among the arguments of
    a task; ``""`` if it is none."""
    if name in _CHECKS:
        return f"which is an option: write `handler.options({name}=...).submit(...)`"
    return option_hint(name, value, Whose.BOTH)


def count(name: str, value: Any, error: _Error, least: int, most: int) -> int:
    """A whole number from ``least`` to ``most``, else ``error`` with name, value and range."""
    if type(value) is int and least <= value <= most:
        return value
    raise error(f"option {name!r} must be a whole number from {least} to {most}, not {value!r}")


def _whole(least: int, most: int) -> _Check:
    return lambda name, value, error: count(name, value, error, least, most)


def _duration(*, above: bool = False, none: bool = False) -> _Check:
    """Seconds from 0 (or above it) to ten years, as a number or timedelta; or None."""

    def check(name: str, value: Any, error: _Error) -> float | None:
        if value is None and none:
            return None
        number = value.total_seconds() if isinstance(value, timedelta) else value
        if type(number) in (int, float) and (0 <= number <= LONGEST) and (number or not above):
            return float(number)
        if isinstance(value, datetime) and name == "delay":
            raise error(
                f"option 'delay' is how long to wait; for a moment write run_at={value!r} instead"
            )
        if type(number) not in (int, float):
            or_none = ", a timedelta or None" if none else " or a timedelta"
            raise error(
                f"option {name!r} must be a number of seconds{or_none}, not {value!r} (a "
                f"{type(value).__name__})"
            )
        raise error(
            f"option {name!r} must be {'above' if above else 'from'} 0 to {LONGEST:.0f} seconds"
            f"{' or None' if none else ''}, not {value!r}"
        )

    return check


def _moment(name: str, value: Any, error: _Error) -> float | None:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise error(f"option {name!r} needs a datetime with a time zone, not {value!r}")
        value = value.timestamp()
    if isinstance(value, timedelta):
        raise error(f"option {name!r} is a moment; for how long to wait write delay={value!r}")
    if value is None or (type(value) in (int, float) and 0 <= value < LATEST):
        return None if value is None else float(value)
    raise error(
        f"option {name!r} must be a datetime with a time zone or UTC seconds from 0 to "
        f"{LATEST:.0f}, not {value!r}"
    )


def text(name: str, value: Any, error: _Error = InvalidTask) -> str:
    """A text that can be sent, else ``error`` with name and value."""
    if not isinstance(value, str):
        raise error(f"option {name!r} must be a text, not {value!r}")
    if not encodable(value):
        raise error(f"option {name!r} has a lone surrogate, so UTF-8 cannot have it: {value!r}")
    return value


def encodable(value: str) -> bool:
    """True if UTF-8 can have the text: it has no lone surrogates, as undecodable names do."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shortened(value: object) -> str:
    """What was given, for a message: it may be long, and from somebody else."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def _key(name: str, value: Any, error: _Error) -> str | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= LONGEST_KEY):
        return None if value is None else text(name, value, error)
    raise error(
        f"option {name!r} must be a text of 1 to {LONGEST_KEY} characters, not {shortened(value)}"
    )


def _id(name: str, value: Any, error: _Error) -> str | None:
    # What the token may look like is checked when the id is made: see `xqueue_core.ids`.
    if value is None or isinstance(value, str):
        return value
    raise error(f"option {name!r} must be a text, not {value!r}")


def _headers(name: str, value: Any, error: _Error) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for item in value.items() for text in item
    ):
        raise error(f"option {name!r} must map texts to texts, not {value!r}")
    size = sum(len(key) + len(text) for key, text in value.items())
    if size > LARGEST_HEADERS:
        raise error(
            f"option {name!r} must have at most {LARGEST_HEADERS} characters, it has {size}"
        )
    for item in value.items():
        for one in item:
            text(name, one, error)
    return dict(value)


_CHECKS: Mapping[str, _Check] = {
    "priority": _whole(0, 9),
    "max_retry": _whole(0, MOST_RETRIES),
    "queue_timeout": _duration(above=True, none=True),
    "process_timeout": _duration(above=True, none=True),
    "delay": _duration(),
    "run_at": _moment,
    "unique_key": _key,
    "unique_for": _duration(above=True, none=True),
    "id": _id,
    "headers": _headers,
    "result_ttl": _duration(),
}


def finite(name: str, value: float) -> float:
    """A number that is neither infinite nor NaN and not below 0, else ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} must be a number of seconds, not {value!r}")
    if not math.isfinite(value) or value < 0:
        raise ConfigError(f"{name} must be finite and 0 or more, not {value!r}")
    return float(value)
