"""Coroutines that have nothing to wait for, such as the calls of a store in memory."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


def at_once(work: Awaitable[T]) -> T:
    """The result of what never waits; from anywhere, no event loop is needed.

    Raises RuntimeError if it does wait.
    """
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("a call that was to be carried out at once had something to wait for")
