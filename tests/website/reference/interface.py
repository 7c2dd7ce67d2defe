"""What programs call: signatures and docstrings of the public interface."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import xqueue_core
from website.reference.texts import docstring, table
from xqueue_core import errors, testing
from xqueue_core.app import XQueue
from xqueue_core.calls import Did
from xqueue_core.client.handler import Handler, Submitter
from xqueue_core.client.options import SubmitOptions, TypeOptions
from xqueue_core.client.sync.app import SyncApp
from xqueue_core.client.sync.handle import SyncHandle
from xqueue_core.client.sync.handler import SyncSubmitter
from xqueue_core.client.tasks import Tasks
from xqueue_core.context import Context
from xqueue_core.handle import Handle, as_completed
from xqueue_core.handlers import Reject, Retry, RetryPolicy
from xqueue_core.task import State
from xqueue_core.worker import Exit, Worker

INTRO = """# Interface

What a program calls, with what each call does, takes and raises. Explained with examples in the
[guide](../guide.md), [plain code](../plain-code.md) and [testing](../testing.md). Errors have
[a page of their own](errors.md). What backends implement is in `xqueue_core/abc.py`, explained in
[writing a backend](../writing-a-backend.md).
"""


class Part(NamedTuple):
    """A heading with the things below it."""

    title: str
    things: tuple[Any, ...]


PARTS = (
    Part("The app", (XQueue, Tasks)),
    Part("Handlers and submitting", (Handler, Submitter)),
    Part("Handles", (Handle, as_completed)),
    Part("Within a handler", (Context, Retry, Reject, RetryPolicy)),
    Part("Plain code", (SyncApp, SyncSubmitter, SyncHandle)),
    Part("Workers", (Worker, Exit)),
    Part(
        "Tests",
        (testing.Testing, testing.Submissions, testing.Submission, testing.Run, testing.call),
    ),
    Part("Words", (State, Did)),
)

#: Classes that programs call; of the others they are given instances.
CALLED = {XQueue, Tasks, Retry, Reject, RetryPolicy, Worker}

#: In ``xqueue_core``, and told elsewhere: types for annotations, in docs/execution.md.
ELSEWHERE = {"CallNext", "Middleware", "__version__"}


def page() -> str:
    """Everything, part by part."""
    parts = [INTRO]
    for title, things in PARTS:
        parts.append(f"## {title}\n")
        for thing in things:
            parts += _class(thing) if isinstance(thing, type) else _function(thing, "###")
        if Submitter in things:
            parts.append(_options())
    return "\n".join(parts)


def shown() -> set[str]:
    """Names of ``xqueue_core`` that have a place on this page, or among the errors."""
    named = {thing.__name__ for part in PARTS for thing in part.things}
    named |= {name for name in vars(errors) if name in xqueue_core.__all__}
    return named | ELSEWHERE


def _class(thing: type) -> Iterator[str]:
    yield f"### {thing.__name__}\n"
    if issubclass(thing, enum.Enum):
        yield f"{docstring(thing)}\n"
        yield ", ".join(f"`{member.name}`" for member in thing) + ".\n"
        return
    if thing in CALLED:
        yield f"```text\n{_signature(thing.__name__, thing)}\n```\n"
    yield f"{docstring(thing)}\n"
    for base in thing.__bases__:
        if base in _classes():
            yield f"It has what [{base.__name__}](#{base.__name__.lower()}) has, and more:\n"
    for name in _members(thing):
        yield from _member(thing, name)


def _classes() -> list[type]:
    return [thing for part in PARTS for thing in part.things if isinstance(thing, type)]


def _members(thing: type) -> list[str]:
    """Public methods and properties with a docstring: its own first, then those of bases that
    have no heading of their own."""
    told = {one for one in _classes() if one is not thing}
    found = [
        (name, value)
        for base in thing.__mro__
        if base.__module__.startswith("xqueue_core") and base not in told
        for name, value in vars(base).items()
    ]
    return [
        name
        for name, value in dict(reversed(found)).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, property | staticmethod | classmethod))
        and inspect.getdoc(inspect.getattr_static(thing, name))
    ][::-1]


def _member(thing: type, name: str) -> Iterator[str]:
    found = inspect.getattr_static(thing, name)
    owner = thing.__name__
    if isinstance(found, property):
        returned = _said(inspect.signature(found.fget).return_annotation) if found.fget else ""
        yield f"#### {owner}.{name}\n"
        yield f"```text\n{owner}.{name}: {returned}\n```\n"
        yield f"{docstring(found)}\n"
    else:
        yield from _function(getattr(thing, name), "####", owner)


def _function(function: Any, level: str, owner: str = "") -> Iterator[str]:
    name = f"{owner}.{function.__name__}" if owner else function.__name__
    raw = inspect.unwrap(function)
    kind = "await " if inspect.iscoroutinefunction(raw) else ""
    yield f"{level} {name}\n"
    yield f"```text\n{kind}{_signature(name, function)}\n```\n"
    yield f"{docstring(function)}\n"


def _signature(name: str, thing: Any) -> str:
    """Its call as one would write it; several lines where one would be too long."""
    signature = inspect.signature(thing)
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    texts = _separated(parameters)
    returned = signature.return_annotation
    tail = (
        "" if returned is signature.empty or isinstance(thing, type) else f" -> {_said(returned)}"
    )
    line = f"{name}({', '.join(texts)}){tail}"
    if len(line) <= 96:
        return line
    return f"{name}(\n" + "".join(f"    {text},\n" for text in texts) + f"){tail}"


def _separated(parameters: list[inspect.Parameter]) -> list[str]:
    texts, starred = [], False
    for at, one in enumerate(parameters):
        if one.kind is one.KEYWORD_ONLY and not starred:
            texts.append("*")
        starred = starred or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        texts.append(_parameter(one))
        behind = parameters[at + 1].kind if at + 1 < len(parameters) else None
        if one.kind is one.POSITIONAL_ONLY and behind is not one.POSITIONAL_ONLY:
            texts.append("/")
    return texts


def _parameter(one: inspect.Parameter) -> str:
    stars = "*" * ((one.kind is one.VAR_POSITIONAL) + 2 * (one.kind is one.VAR_KEYWORD))
    typed = f"{stars}{one.name}"
    if one.annotation is not one.empty:
        typed += f": {_said(one.annotation)}"
    if one.default is one.empty:
        return typed
    equals = "=" if one.annotation is one.empty else " = "
    return f"{typed}{equals}{_value(one.default)}"


def _value(value: object) -> str:
    # An object's own repr may name an address in memory.
    text = repr(value)
    return "..." if " at 0x" in text or text.startswith("<") else text


def _said(annotation: object) -> str:
    """An annotation without the modules of its names."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def _options() -> str:
    rows = [
        (
            f"`{name}`",
            f"`{_said(annotation)}`",
            "yes" if name in TypeOptions.__annotations__ else "",
        )
        for name, annotation in SubmitOptions.__annotations__.items()
    ]
    return (
        "### Options of a task\n\nOf `.options(...)`; what each means is said there, and with its"
        " default and range in the [guide](../guide.md#options).\n\n"
        + table(("name", "type", "also for `@app.task(...)`"), rows)
    )
