"""Handlers: the functions behind task types, how they are declared, retried and called."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Never

from xqueue_core.client.binding import Binding
from xqueue_core.client.options import LONGEST_KEY, TaskOptions, finite, misplaced
from xqueue_core.errors import ConfigError, InvalidTask
from xqueue_core.foreign_options import POLICY, RETRY, told
from xqueue_core.payload import JSON, Serializers, encode_json

#: What msgspec says of an argument that there is not; of one further inside it says where, too.
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")


class Retry(Exception):
    """Raised by a handler: run the task again, in ``delay`` seconds (None: as the policy says).

    It uses up a retry like any other failure; without one left the task becomes ``failed``. It may
    be raised bare: ``raise Retry``.

    Raises:
        ConfigError: ``delay`` is no number of seconds, 0 or more.
    """

    def __init__(self, delay: float | None = None, reason: str = "", **others: Never) -> None:
        given: dict[str, object] = {**others}
        for name, value in given.items():
            hint = told(RETRY, name, value) or "(known: delay, reason)"
            raise ConfigError(f"Retry has no {name!r}, {hint}")
        super().__init__(reason or "the handler asked for a retry")
        self.delay = None if delay is None else finite("Retry's delay", delay)
        self.reason = reason


class Reject(Exception):
    """Raised by a handler: the task is ``failed`` for good, whatever retries it had left.

    It may be raised bare: ``raise Reject``.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the handler rejected the task")
        self.reason = reason


@dataclass(slots=True, frozen=True)
class RetryPolicy:
    """When a failed attempt is followed by another, and after how long.

    The delay is exponential with full jitter, after Marc Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015: of the schemes compared there it does the same work
    with the fewest calls, because clients that failed together come back spread out.

    Attributes:
        base: upper bound of the first delay (seconds).
        factor: by which each further bound grows, 1 or more.
        cap: largest bound (seconds).
        no_retry: exceptions (and their subclasses) after which the task is ``failed`` at once.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 600.0
    no_retry: tuple[type[BaseException], ...] = ()

    if not TYPE_CHECKING:  # which would take it for the signature

        def __new__(cls, *_: object, **given: object) -> RetryPolicy:
            for name, value in given.items():
                if hint := told(POLICY, name, value):
                    raise ConfigError(f"RetryPolicy has no {name!r}, {hint}")
            return object.__new__(cls)

    def __post_init__(self) -> None:
        for name in ("base", "factor", "cap"):
            finite(f"RetryPolicy's {name}", getattr(self, name))
        if self.factor < 1:
            raise ConfigError(f"RetryPolicy's factor must be 1 or more, not {self.factor!r}")
        try:
            # What an `except` clause would take: this is how the engine uses it.
            issubclass(Exception, self.no_retry)
        except TypeError as error:
            raise ConfigError(
                f"RetryPolicy's no_retry must be a tuple of exceptions, not {self.no_retry!r}"
            ) from error

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds to wait after the failed ``attempt`` (1 for the first).

        ``random`` gives a number from 0 to 1.
        """
        try:
            bound = min(self.cap, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            bound = self.cap
        return random() * bound


class Kind(Enum):
    """Where a handler's code runs."""

    COROUTINE = auto()  # on the handlers' event loop
    THREAD = auto()  # a plain function, in a thread of the worker's process
    PROCESS = auto()  # in a child process of its own, which can be killed


@dataclass(slots=True)
class HandlerSpec:
    """One declared type: its function and all that was said about it."""

    name: str
    lane: str
    function: Callable[..., Any]
    is_async: bool
    takes_context: bool
    options: TaskOptions
    retry: RetryPolicy
    max_concurrency: int | None  # of the lane
    key: str | None  # template over the arguments, such as "user_{user_id}"
    key_concurrency: int | None
    binding: Binding
    content_type: str = JSON
    serializers: Serializers = field(default_factory=Serializers)
    isolation: str | None = None  # "process", or None: in the worker's own process
    max_memory: int | None = None  # MiB, of the child process
    _checked: bool = field(init=False, default=False, repr=False, compare=False)
    kind: Kind = field(init=False)  # where it runs; kept, for it is looked at for every task

    def __post_init__(self) -> None:
        if self.isolation == "process":
            self.kind = Kind.PROCESS
        else:
            self.kind = Kind.COROUTINE if self.is_async else Kind.THREAD

    def check_types(self) -> None:
        """Find out what the annotations mean, if that is not known yet.

        Raises ConfigError if one names what there is not, or has no JSON form.
        """
        if self._checked:
            return
        if self.content_type == JSON:
            self.binding.check_json()
        else:
            self.binding.resolved()
        self._checked = True

    def arguments(self, payload: bytes, content_type: str) -> dict[str, Any]:
        """A payload's arguments, converted to the handler's annotations.

        Raises InvalidTask with the path: "Expected `str`, got `int` - at `$.path`".
        """
        try:
            return self.binding.decode(payload, content_type, self.serializers)
        except InvalidTask as error:
            raise InvalidTask(
                f"the arguments do not fit {self.name!r}: {self._said(error)}"
            ) from error

    def encode_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, dict[str, Any]]:
        """The payload of a call, and its arguments as the handler will get them.

        Raises InvalidTask if they do not fit the handler's signature or cannot be encoded.
        """
        try:
            given = self.binding.bind(args, kwargs)
            return self.binding.encode(given, self.content_type, self.serializers)
        except InvalidTask as error:
            raise InvalidTask(
                f"the arguments do not fit {self.name!r}: "
                f"{self._misplaced(kwargs) or self._said(error)}"
            ) from error

    def _misplaced(self, kwargs: dict[str, Any]) -> str:
        """What to write for options among the arguments; ``""`` if there are none."""
        if self.binding.takes_any:
            return ""
        others = [name for name in kwargs if name not in self.binding.names]
        hints = [(name, misplaced(name, kwargs[name])) for name in others]
        return "; ".join(f"it has no argument `{name}`, {hint}" for name, hint in hints if hint)

    def _said(self, error: InvalidTask) -> str:
        """What is wrong; of an argument that there is not, which there are."""
        found = _UNKNOWN.fullmatch(str(error))
        if found is None:
            return str(error)
        names = self.binding.names
        near = difflib.get_close_matches(found[1], names, n=1)
        hint = (
            f"; did you mean `{near[0]}`?"
            if near
            else f" (arguments: {', '.join(names) or 'none'})"
        )
        return f"it has no argument `{found[1]}`{hint}"

    def key_of(self, arguments: dict[str, Any]) -> str | None:
        """The concurrency key of a call with these arguments, if the type has one."""
        if self.key is None:
            return None
        key = self.key.format_map({**self.binding.defaults, **arguments})
        if 0 < len(key) <= LONGEST_KEY:
            return key
        raise InvalidTask(
            f"the key of {self.name!r} must have 1 to {LONGEST_KEY} characters, not {key!r}"
        )

    def encode_result(self, value: object) -> bytes:
        """A result as JSON. Raises InvalidTask if it cannot be encoded."""
        try:
            return encode_json(value)
        except InvalidTask as error:
            raise InvalidTask(f"the result of {self.name!r} {error}") from error

    def decode_result(self, result: bytes, content_type: str) -> Any:
        """A result, converted to the return annotation. Raises InvalidTask if it does not fit."""
        if content_type not in ("", JSON):
            return result
        try:
            return self.binding.decode_result(result)
        except InvalidTask as error:
            raise InvalidTask(
                f"the result does not fit the return annotation of {self.name!r}: {error}"
            ) from error

    def call(self, context: object, arguments: dict[str, Any]) -> Any:
        """Call the function, with the context first if it takes one. A coroutine if async."""
        return self.binding.call(context, arguments)
