"""The client for plain code is the twin of the async one: method for method, word for word."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import xqueue_core
from xqueue_core import Handle, SyncHandle, XQueue, errors
from xqueue_core.client.handler import Handler, Submitter
from xqueue_core.client.sync.app import SyncApp
from xqueue_core.client.sync.handler import SyncSubmitter

#: What each async name is called in plain code; the others keep theirs.
NAMES = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
#: A text of annotations or docs, in the words of plain code.
WORDS = {
    r"\bHandle\b": "SyncHandle",
    r"\bSubmitter\b": "SyncSubmitter",
    r"\bAsyncIterator\b": "Iterator",
}
#: What is for async code alone: a connection of one's own lives on the caller's loop.
ASYNC_ALONE = {"connect"}


def in_plain_words(text: str) -> str:
    for word, other in WORDS.items():
        text = re.sub(word, other, text)
    return text


def public(of: type) -> dict[str, Any]:
    """The members that users may call or read, inherited ones included, by name."""
    # What only tells of another product's word is not there for `hasattr`.
    there = {name for name in dir(of) if not name.startswith("_") and hasattr(of, name)}
    names = there | {*NAMES, *NAMES.values()}
    found = {name: inspect.getattr_static(of, name, None) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def function(member: Any) -> Any:
    """The function behind a method or property; None if it is neither, such as a slot."""
    if isinstance(member, property):
        member = member.fget
    member = inspect.unwrap(member) if callable(member) else None
    return member if inspect.isfunction(member) else None


def waits(function: Callable[..., Any]) -> bool:
    """True for what a loop is needed for, and for what gives others such things."""
    returned = str(inspect.signature(function).return_annotation)
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or re.search(r"\b(Handle|AsyncIterator|AbstractAsyncContextManager)\b", returned)
        is not None
    )


def shape(function: Callable[..., Any]) -> tuple[list[Any], str]:
    """Parameters and return type, in the words of plain code."""
    signature = inspect.signature(function)
    parameters = [
        (one.name, one.kind, one.default, in_plain_words(str(one.annotation)))
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    return parameters, in_plain_words(str(signature.return_annotation))


def raised(function: Callable[..., Any]) -> set[str]:
    """The errors that a docstring names behind the word `Raises`."""
    _, raises, text = (inspect.getdoc(function) or "").partition("Raises")
    names = set(re.findall(r"\b[A-Z]\w+", text)) if raises else set()
    return {
        name
        for name in names
        for one in (getattr(errors, name, getattr(builtins, name, None)),)
        if isinstance(one, type) and issubclass(one, BaseException)
    }


def drift(of: dict[str, Any], twin: dict[str, Any]) -> list[str]:
    """How the twin differs; nothing if it does not."""
    found = []
    for name, member in of.items():
        other = function(twin.get(NAMES.get(name, name)))
        if (one := function(member)) is None:
            continue
        if other is None:
            found.append(f"{name} has no twin")
        elif inspect.iscoroutinefunction(other) or inspect.isasyncgenfunction(other):
            found.append(f"{name}: its twin is async")
        elif shape(one) != shape(other):
            found.append(f"{name}: {shape(one)} against {shape(other)}")
        elif raised(one) != raised(other):
            found.append(f"{name}: raises {raised(one)} against {raised(other)}")
    own = {NAMES.get(name, name) for name in of}
    return found + [f"{name} is a twin of nothing" for name in twin if name not in own]


def of_app() -> dict[str, Any]:
    """What an app does on a loop; what else it does is the same in plain code."""
    found = {
        name: member
        for name, member in public(XQueue).items()
        if (one := function(member)) is not None and waits(one) and name not in ASYNC_ALONE
    }
    return {**found, "as_completed": xqueue_core.as_completed}


def test_handles_are_twins() -> None:
    of = public(Handle)
    assert {"result", "events", "cancel"} <= set(of)
    # A slot there, a property here.
    assert drift(of, {n: m for n, m in public(SyncHandle).items() if n != "duplicate"}) == []
    assert "duplicate" in of
    assert "duplicate" in public(SyncHandle)


def test_submitters_are_twins() -> None:
    of = {name: one for name, one in public(Submitter).items() if name != "sync"}
    assert {"submit", "call", "options", "spec"} <= set(of)
    assert drift(of, public(SyncSubmitter)) == []
    # A handler has no more to submit than they have.
    assert set(public(Handler)) - set(public(Submitter)) <= {"name", "declared"}


def test_apps_are_twins() -> None:
    of = of_app()
    assert set(of) >= {"submit", "submit_many", "handle", "as_completed", "aclose", "__aenter__"}
    assert drift(of, public(SyncApp)) == []


class One:
    async def result(self, timeout: float | None = None) -> Handle[int]:
        """Waits. Raises TaskFailed, TimeoutError."""
        raise NotImplementedError


class Same:
    def result(self, timeout: float | None = None) -> SyncHandle[int]:
        """Waits.

        Raises:
            TaskFailed: it failed.
            TimeoutError: in time.
        """
        raise NotImplementedError


class Async(One):
    async def more(self) -> None: ...


class Default:
    def result(self, timeout: float | None = 1.0) -> SyncHandle[int]:
        """Raises TaskFailed, TimeoutError."""
        raise NotImplementedError


class Returns:
    def result(self, timeout: float | None = None) -> Handle[str]:
        """Raises TaskFailed, TimeoutError."""
        raise NotImplementedError


class Silent:
    def result(self, timeout: float | None = None) -> SyncHandle[int]:
        """Raises TimeoutError."""
        raise NotImplementedError


@pytest.mark.parametrize(
    ("twin", "words"),
    [
        (Same, None),
        (One, "its twin is async"),
        (Default, "against"),
        (Returns, "against"),
        (Silent, "raises"),
        (object, "has no twin"),
    ],
)
def test_a_drift_is_found(twin: type, words: str | None) -> None:
    found = drift(public(One), public(twin))
    assert len(found) == (words is not None), found
    assert words is None or words in found[0]
    if words is None:
        assert drift(public(twin), public(Async)) == [
            "result: its twin is async",
            "more is a twin of nothing",
        ]
