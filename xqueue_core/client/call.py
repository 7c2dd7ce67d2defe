"""A task that is ready to be submitted."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from xqueue_core.client.options import TaskOptions
from xqueue_core.client.sync.handle import SyncHandle
from xqueue_core.errors import InvalidTask
from xqueue_core.handle import Decode, Handle
from xqueue_core.handlers import HandlerSpec
from xqueue_core.ids import Id
from xqueue_core.payload import JSON, check_size, decode_json, json_decoder
from xqueue_core.task import Task

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

#: Options by which two tasks can differ, besides ids and keys.
OPTIONS = (
    "priority",
    "max_retry",
    "queue_timeout",
    "process_timeout",
    "delay",
    "run_at",
    "unique_for",
    "headers",
    "result_ttl",
)
_PLAIN = TaskOptions()
_any_json = json_decoder(dict[str, Any])


@dataclass(frozen=True, slots=True, repr=False)
class Call(Generic[R_co]):
    """One task, checked and encoded. Submitting the same call twice gives one task."""

    task: Task
    decode: Decode[R_co]
    spec: HandlerSpec | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The task's id."""
        return self.task.id

    def __repr__(self) -> str:
        arguments: Any = self.task.payload
        if self.spec is not None:
            arguments = self.spec.arguments(self.task.payload, self.task.content_type)
        elif self.task.content_type == JSON:
            arguments = decode_json(self.task.payload, _any_json)
        return described(self.task, self.spec, arguments)


def described(task: Task, spec: HandlerSpec | None, arguments: Any) -> str:
    """A task as the call that makes it: ``thumbnail.options(delay=60.0).call(path='a.png')``.

    Options are named if the type does not have them by itself.
    """
    usual = _PLAIN if spec is None else spec.options
    said = {name: getattr(task, name) for name in OPTIONS}
    told = {name: value for name, value in said.items() if value != getattr(usual, name)}
    if named(task):
        told["id"] = task.id.partition(":")[2]
    options = f".options({_given(told)})" if told else ""
    shown = _given(arguments) if isinstance(arguments, dict) else repr(arguments)
    return f"{task.type}{options}.call({shown})"


def named(task: Task) -> bool:
    """True if its id was given, not generated."""
    return task.remember and task.unique_key is None


def _given(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def make_task(
    id: Id,
    lane: str,
    payload: bytes,
    options: TaskOptions,
    *,
    content_type: str = JSON,
    kind: type[Task] = Task,
) -> Task:
    """The envelope. Raises PayloadTooLarge beyond what any backend takes."""
    check_size(payload)
    return kind(
        id=id.id,
        lane=lane,
        payload=payload,
        content_type=content_type,
        priority=options.priority,
        max_retry=options.max_retry,
        queue_timeout=options.queue_timeout,
        process_timeout=options.process_timeout,
        delay=options.delay,
        run_at=options.run_at,
        unique_key=id.unique_key,
        unique_for=options.unique_for if id.unique_key is not None else None,
        remember=id.given,
        headers=dict(options.headers),
        result_ttl=options.result_ttl,
    )


def make_call(
    spec: HandlerSpec, options: TaskOptions, id: Id, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Call[Any]:
    """A call of a declared type.

    Raises:
        InvalidTask: the arguments do not fit the handler, or cannot be encoded.
        PayloadTooLarge: they can, but are too large.
    """
    payload, arguments = spec.encode_arguments(args, kwargs)
    task = make_task(id, spec.lane, payload, options, content_type=spec.content_type)
    task.key = spec.key_of(arguments)
    if task.key is not None:
        task.key_limit = spec.key_concurrency
    return Call(task, spec.decode_result, spec)


def listed(calls: Iterable[Call[R]]) -> list[Call[R]]:
    """What :meth:`XQueue.submit_many` was given. Raises InvalidTask if that is no calls."""
    given: object = calls
    if isinstance(given, Call):
        raise InvalidTask(
            "submit_many takes many calls, and this is a single one: put it into a list, or write "
            "`submit(...)` where it says `call(...)`"
        )
    if not isinstance(given, Iterable):
        raise _no_call([given])
    found: list[object] = list(calls)
    wrong = [one for one in found if not isinstance(one, Call)]
    if wrong:
        raise _no_call(wrong)
    return cast("list[Call[R]]", found)


def _no_call(wrong: list[object]) -> InvalidTask:
    """The error for what is no call; coroutines among it will not complain of being dropped."""
    for one in wrong:
        if inspect.iscoroutine(one):
            one.close()
    first = wrong[0]
    if inspect.iscoroutine(first):
        hint = "a coroutine, as of `handler.submit(...)`: write `handler.call(...)` instead"
    elif isinstance(first, Handle | SyncHandle):
        hint = "the handle of a task that was submitted: write `handler.call(...)` instead"
    elif callable(getattr(first, "call", None)):
        hint = f"a handler: write `{getattr(first, 'name', 'handler')}.call(...)` instead"
    else:
        hint = f"{first!r}: write `handler.call(...)` for each task"
    return InvalidTask(f"submit_many takes calls, and this is {hint}")
