"""What was submitted, in a form that reads well in assertions and in what pytest says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xqueue_core.client.call import OPTIONS, Call, described, named
from xqueue_core.errors import InvalidTask
from xqueue_core.payload import JSON, decode_json, json_decoder

if TYPE_CHECKING:
    from xqueue_core.handlers import HandlerSpec
    from xqueue_core.task import Task

_any_json = json_decoder(dict[str, Any])


class Expected:
    """A call as a test expects it, made by :func:`call`; its options do not matter."""

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self._named())]
        return f"call({', '.join(given)})"

    def _named(self) -> Iterable[tuple[str, Any]]:
        return self.kwargs.items()


def call(*args: Any, **kwargs: Any) -> Any:
    """A call with these arguments, to compare submissions with, whatever their options.

    ``assert t.submitted(thumbnail) == [call("a.png")]``. Defaults of the handler count as given,
    on both sides. Where options matter, compare with ``thumbnail.options(...).call(...)``.

    Returns an :class:`Expected`; for type checkers it can be compared with whatever there is.
    """
    return Expected(args, kwargs)


@dataclass(slots=True, eq=False)
class Submission:
    """One submit that the broker has accepted.

    Attributes:
        id: the full id of the task that it has become.
        type: the task's type.
        arguments: by name, as the handler gets them: converted to its annotations, without the
            defaults that were not given. Bytes, if no handler of the type is declared.
        task: the envelope, as it went to the broker.
        duplicate: the broker had a task with this id or unique key already, which ``id`` is of.
    """

    id: str
    arguments: Any
    task: Task
    spec: HandlerSpec | None = field(repr=False, default=None)

    @property
    def type(self) -> str:
        """The task's type."""
        return self.task.type

    @property
    def duplicate(self) -> bool:
        """True if another submit had made the task."""
        return self.id != self.task.id

    @property
    def delay(self) -> float:
        """Seconds from acceptance until it may start."""
        return self.task.delay

    @property
    def options(self) -> dict[str, Any]:
        """Its options, those included that are the type's or the defaults."""
        return {name: getattr(self.task, name) for name in OPTIONS}

    def matches(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """True if these are its arguments; the handler's defaults count as given."""
        if self.spec is None:
            return not args and bool(self.arguments == dict(kwargs))
        try:
            _, arguments = self.spec.encode_arguments(args, dict(kwargs))
        except InvalidTask:  # such a call could not have been submitted
            return False
        return self._full(arguments) == self._full(self.arguments)

    def _full(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        defaults = {} if self.spec is None else self.spec.binding.defaults
        return {**defaults, **arguments}

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Expected):
            return self.matches(other.args, other.kwargs)
        if isinstance(other, Submission):
            return self.id == other.id and self._same(other.task)
        if isinstance(other, Call):
            return self._same(other.task)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def _same(self, task: Task) -> bool:
        """True if this task asks for the same, under whatever generated id."""
        mine = self.task
        if (mine.type, mine.key, mine.unique_key) != (task.type, task.key, task.unique_key):
            return False
        if mine.id != task.id and (named(mine) or named(task)):
            return False
        if any(getattr(mine, name) != getattr(task, name) for name in OPTIONS):
            return False
        if self.spec is None:
            return mine.payload == task.payload
        arguments = self.spec.arguments(task.payload, task.content_type)
        return self._full(arguments) == self._full(self.arguments)

    def __repr__(self) -> str:
        return described(self.task, self.spec, self.arguments)


class Submissions(list[Submission]):
    """Submissions in their order: compare it with a list, or ask it to check."""

    def __eq__(self, other: object) -> bool:
        # As a list does; of its own, so that type checkers let it be compared with calls.
        return super().__eq__(other)

    __hash__ = None

    def once(self, /, *args: Any, **kwargs: Any) -> Submission:
        """There is one submission, and it has these arguments (if any are named); answers it.

        Raises AssertionError, which lists what there is.
        """
        found = self._matching(args, kwargs)
        if len(found) != 1 or len(self) != 1:
            raise self._wrong("once", args, kwargs)
        return found[0]

    def any(self, /, *args: Any, **kwargs: Any) -> Submission:
        """There is a submission with these arguments; answers the first. Raises AssertionError."""
        found = self._matching(args, kwargs)
        if not found:
            raise self._wrong("at least once", args, kwargs)
        return found[0]

    def never(self, /, *args: Any, **kwargs: Any) -> None:
        """There is no submission, or none with these arguments. Raises AssertionError."""
        if self._matching(args, kwargs):
            raise self._wrong("never", args, kwargs)

    def _matching(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Submission]:
        if not args and not kwargs:
            return list(self)
        return [one for one in self if one.matches(args, kwargs)]

    def _wrong(self, what: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AssertionError:
        wanted = f" {call(*args, **kwargs)}" if args or kwargs else ""
        lines = "".join(f"\n  {one!r}" for one in self) or " nothing"
        return AssertionError(f"expected {what}{wanted}, and submitted was:{lines}")


def read(task: Task, id: str, handlers: Mapping[str, HandlerSpec]) -> Submission:
    """The submission of this envelope, which became the task of this id."""
    spec = handlers.get(task.type)
    arguments: Any = task.payload
    if spec is not None:
        try:
            arguments = spec.arguments(task.payload, task.content_type)
        except InvalidTask:  # sent by name, and a worker will refuse it
            spec = None
    if spec is None and task.content_type == JSON:
        arguments = decode_json(task.payload, _any_json)
    return Submission(id, arguments, task, spec)
