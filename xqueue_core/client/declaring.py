"""What ``@app.task`` does: checks a declaration and keeps it with the others of the app."""

from __future__ import annotations

import difflib
import inspect
import re
import string
from collections.abc import Callable, Collection, Mapping
from types import FrameType
from typing import Any

from xqueue_core.client.binding import Binding
from xqueue_core.client.options import count, declared
from xqueue_core.errors import ConfigError, InvalidTask, UnknownType
from xqueue_core.handlers import HandlerSpec, RetryPolicy
from xqueue_core.ids import check_type
from xqueue_core.loading import loading
from xqueue_core.payload import BYTES, JSON, Serializers

#: Largest limit (tasks at once).
LARGEST_LIMIT = 1_000_000
#: Bounds of a child's memory (MiB): an interpreter with an app in it needs some itself.
LEAST_MEMORY = 32
LARGEST_MEMORY = 1 << 30

_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")


class Declarations(dict[str, HandlerSpec]):
    """The declared types of one app, by name."""

    def add(self, spec: HandlerSpec, *, included: bool = False) -> None:
        """Keep a declaration, or one that is included. Raises ConfigError if it contradicts an
        earlier one."""
        earlier = self.get(spec.name)
        if earlier is not None and earlier.function is spec.function and not included:
            raise ConfigError(
                f"{source(spec.function)} is a task already: put @app.task below @app.every(...) "
                f"and @app.cron(...), next to the function, and only once"
            )
        if earlier is not None:
            raise ConfigError(
                f"type {spec.name!r} is declared twice: by {source(earlier.function)} and "
                f"{source(spec.function)}; give one of them another name=..."
                f"{', or include(tasks, prefix=...)' if included else ''}"
            )
        for other in self.values():
            if other.lane == spec.lane and other.max_concurrency != spec.max_concurrency:
                raise ConfigError(
                    f"types {other.name!r} and {spec.name!r} share the lane {spec.lane!r} and so "
                    f"its limit, but declare max_concurrency={other.max_concurrency} and "
                    f"{spec.max_concurrency}"
                )
        self[spec.name] = spec


def visible(frame: FrameType) -> Mapping[str, Any]:
    """The names that a frame has beyond those of its module.

    Annotations that are texts may name what is local to the function around them.
    """
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def make_spec(
    function: Callable[..., Any],
    names: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    name: str | None,
    lane: str | None,
    max_concurrency: int | None,
    key: str | None,
    key_concurrency: int | None,
    retry: RetryPolicy | None,
    content_type: str,
    isolation: str | None = None,
    max_memory: int | None = None,
) -> HandlerSpec:
    """A checked declaration. Raises ConfigError for whatever is wrong with it.

    ``names`` are those visible where the function was declared.
    """
    is_async = _check_function(function)
    # First of all: what was written by another product's habits is wrong in more than one way.
    defaults = declared(options)
    _check_retry(retry)
    _check_isolation(isolation, max_memory)
    if name is None and function.__name__ == "<lambda>":
        raise ConfigError("a lambda has no name: give it one, name=...")
    type_ = check_type(function.__name__ if name is None else name, ConfigError)
    binding = Binding(function, names)
    serializers = _serializers(content_type)
    for option, value in (
        ("max_concurrency", max_concurrency),
        ("key_concurrency", key_concurrency),
    ):
        if value is not None:
            count(option, value, ConfigError, 1, LARGEST_LIMIT)
    _check_key(type_, key, key_concurrency, binding.names)
    spec = HandlerSpec(
        name=type_,
        lane=type_ if lane is None else check_type(lane, ConfigError, "lane"),
        function=function,
        is_async=is_async,
        takes_context=binding.takes_context,
        options=defaults,
        retry=retry or RetryPolicy(),
        max_concurrency=max_concurrency,
        key=key,
        key_concurrency=key_concurrency,
        binding=binding,
        content_type=content_type,
        serializers=serializers,
        isolation=isolation,
        max_memory=max_memory,
    )
    if binding.known:  # what is defined further down is looked for when the app is first opened
        spec.check_types()
    return spec


def _serializers(content_type: str) -> Serializers:
    """With the one for this content type, of a plugin if it is not built in."""
    if content_type in (JSON, BYTES):
        return Serializers()
    given: object = content_type
    if not isinstance(given, str) or not _CONTENT_TYPE.fullmatch(given):
        raise ConfigError(
            f"content_type is a media type such as 'application/msgpack', not {content_type!r}"
        )
    with loading:
        from xqueue_core.plugins import load_serializer

        return Serializers(load_serializer(content_type))


def unknown_type(name: str, known: Collection[str]) -> UnknownType:
    """The error for a type that nobody declared, with the known ones and the nearest."""
    text = f"no task type is named {name!r}"
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        text += f"; did you mean {near[0]!r}?"
    return UnknownType(f"{text} (known: {', '.join(sorted(known)) or 'none'})")


def keywords_only(name: str, spec: HandlerSpec | None) -> InvalidTask:
    """The error for positional arguments of a task that is submitted by the name of its type."""
    given = ", ".join(f"{one}=..." for one in spec.binding.names) if spec is not None else "a=..."
    return InvalidTask(
        f"by name a task takes keywords only: app.submit({name!r}{', ' if given else ''}{given})"
    )


def _check_function(function: Any) -> bool:
    """True if the function is a coroutine function."""
    if not callable(function) or not hasattr(function, "__name__"):
        raise ConfigError(f"a handler is a function, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(
            f"{_place(function)} is a generator; a handler returns its result, and tells how far "
            f"it is by ctx.progress()"
        )
    return inspect.iscoroutinefunction(function)


def _check_retry(retry: object) -> None:
    if retry is None or isinstance(retry, RetryPolicy):
        return
    hint = ""
    if type(retry) is int:
        hint = f"; for the number of retries use max_retry={retry}"
    elif retry is RetryPolicy:
        hint = "; make one: RetryPolicy()"
    raise ConfigError(f"retry takes a RetryPolicy, not {retry!r}{hint}")


def _check_isolation(isolation: object, max_memory: int | None) -> None:
    if isolation not in (None, "process"):
        raise ConfigError(
            f"isolation is 'process', or None to run in the worker's own process; not {isolation!r}"
        )
    if max_memory is None:
        return
    count("max_memory", max_memory, ConfigError, LEAST_MEMORY, LARGEST_MEMORY)
    if isolation is None:
        raise ConfigError(
            "max_memory bounds a child process: it needs isolation='process' beside it"
        )


def _check_key(
    type_: str, key: object, key_concurrency: int | None, names: Collection[str]
) -> None:
    if key is None:
        if key_concurrency is not None:
            raise ConfigError(f"type {type_!r} has a key_concurrency, but no key")
        return
    if not isinstance(key, str):
        example = "{" + next(iter(names), "user_id") + "}"
        raise ConfigError(
            f"the key of type {type_!r} is a template over its arguments, not {key!r}: write "
            f'`key="{example}"`'
        )
    if key in names:
        # Every task would have this one key, so that they would wait for each other.
        raise ConfigError(
            f"the key {key!r} of type {type_!r} is the same for every task: for the argument "
            f'write `key="{{{key}}}"`'
        )
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(key) if field is not None]
    except ValueError as error:
        raise ConfigError(f"the key {key!r} of type {type_!r} is no template: {error}") from error
    for field in fields:
        # Plain names only: a template must not reach into what its arguments hold.
        if field not in names:
            raise ConfigError(
                f"the key {key!r} of type {type_!r} names {field!r}, which is no argument of it "
                f"(arguments: {', '.join(names) or 'none'})"
            )


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function.__name__)}"


def source(function: Callable[..., Any]) -> str:
    """Its name, and where it is defined if that is known."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
    return _place(function) + where
