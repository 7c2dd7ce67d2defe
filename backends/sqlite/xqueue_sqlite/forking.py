"""What a forked child must not touch.

A child inherits its parent's connections. Used there, or merely closed when the garbage
collector finds them, they would harm the parent's file. So they are kept for ever instead.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Something that holds what a child must not close."""

    def inherited(self) -> Iterable[object]:
        """The objects to keep; called in the child."""
        ...


_watched: WeakSet[Forked] = WeakSet()


def watch(holder: Forked) -> None:
    """Keep what this object holds from being closed in a forked child."""
    _watched.add(holder)


def _in_child() -> None:
    for holder in list(_watched):
        for thing in holder.inherited():
            # One reference that nothing gives back, not even the interpreter's end.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
