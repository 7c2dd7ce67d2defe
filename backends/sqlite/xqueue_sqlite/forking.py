"""What a forked child must not touch.

A child inherits its parent's connections. Used there, or merely closed when the garbage
collector finds them, they would harm the parent's file. So they are kept for ever instead.

It also inherits what SQLite knows of the file's locks, and SQLite's own locks. What another thread
held at the fork would be held in the child for ever: so a fork waits until nobody is within SQLite.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

#: Longest that a fork waits (seconds); a transaction may wait so long for another process.
LONGEST = 10.0


class Quiet:
    """A context in which threads use SQLite, any number at once, and no fork comes in between."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._forks = 0

    def __enter__(self) -> None:
        with self._changed:
            while self._forks:
                self._changed.wait()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            if self._forks:
                self._changed.notify_all()

    def before(self) -> None:
        """A fork is to come: let nobody in, and wait until those inside are out."""
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: not self._inside, LONGEST)

    def after(self) -> None:
        """The fork is over, in the parent."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def renew(self) -> None:
        """In the child: nobody is inside."""
        self._changed = threading.Condition(threading.Lock())
        self._inside = self._forks = 0


#: SQLite's state is one for the process, and so is this.
quiet = Quiet()


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
    quiet.renew()
    for holder in list(_watched):
        for thing in holder.inherited():
            # One reference that nothing gives back, not even the interpreter's end.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=quiet.before, after_in_parent=quiet.after, after_in_child=_in_child)
