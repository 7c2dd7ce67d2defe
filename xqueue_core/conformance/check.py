"""What a case says when the backend does not do what the contract asks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


class Broken(AssertionError):
    """The backend does not hold what the case asks for."""


def same(got: object, want: object, what: str) -> None:
    """Fail unless both are equal; ``what`` names the thing that was compared."""
    if got != want:
        raise Broken(f"{what}: expected {want!r}, got {got!r}")


def holds(truth: object, what: str) -> None:
    """Fail unless ``truth`` is true; ``what`` is the sentence that ought to hold."""
    if not truth:
        raise Broken(f"does not hold: {what}")


def between(got: float, low: float, high: float, what: str) -> None:
    """Fail unless ``low <= got <= high``."""
    if not low <= got <= high:
        raise Broken(f"{what}: expected {low:g} to {high:g}, got {got:g}")


def one_of(got: object, allowed: Collection[Any], what: str) -> None:
    """Fail unless ``got`` is among ``allowed``."""
    if got not in allowed:
        raise Broken(f"{what}: expected one of {list(allowed)!r}, got {got!r}")
