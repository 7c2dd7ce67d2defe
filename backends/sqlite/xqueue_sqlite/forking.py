"""How a process that has files open forks.

SQLite knows by process which locks it holds on a file. A child inherits that knowledge, but not
the locks: with what is open at a fork, and also with what the child opened anew, it would write
unprotected, and whoever closes the file last would take the write-ahead log away under it
(https://www.sqlite.org/howtocorrupt.html, 2.6). So a fork waits until nobody is within SQLite, and
closes every connection first; parent and child open theirs again when they need them.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

#: Longest that a fork waits (seconds); a transaction may wait so long for another process.
LONGEST = 10.0


class Forked(Protocol):
    """Something that has connections."""

    def let_go(self) -> None:
        """Close them; called before a fork, when nobody uses them."""
        ...

    def inherited(self) -> Iterable[object]:
        """Those that are open all the same; called in the child, which must not close them."""
        ...


class Quiet:
    """A context in which threads use SQLite, any number at once, and no fork comes in between.

    Forks come one after another: one that went on while another thread is closing connections
    would copy what is half closed.
    """

    def __init__(self) -> None:
        # Of the reentrant kind: a signal's handler may fork while its own thread holds it. Below,
        # each change is one step, or a thread's own, so that such a handler finds all in order.
        self._changed = threading.Condition(threading.RLock())
        # Threads that use SQLite, and how many such contexts each of them is in.
        self._inside: dict[int, int] = {}
        # The thread whose turn it is to fork; several times if it forks within a hook of a fork.
        self._turn: list[int] = []
        self._watched: WeakSet[Forked] = WeakSet()
        #: True in a child that was forked when something was open, or somebody was inside.
        self.tainted = False

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            # Whoever is inside comes in again: the one that forks waits for it.
            while self._is_turn_of_another(me) and me not in self._inside:
                self._changed.wait()
            self._inside[me] = self._inside.get(me, 0) + 1

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        with self._changed:
            # Not there in a child that a signal's handler has forked in between.
            if self._inside.get(me, 0) > 1:
                self._inside[me] -= 1
            else:
                self._inside.pop(me, None)
            if self._turn:
                self._changed.notify_all()

    def watch(self, holder: Forked) -> None:
        """Have this object close its connections before each fork."""
        with self._changed:
            self._watched.add(holder)

    def before(self) -> None:
        """A fork is to come: let nobody in, wait until those inside are out, close everything.

        It waits for ``LONGEST`` at most; a child that was not spared finds out by :meth:`renew`.
        """
        if self._is_alone():
            # Counted as inside: a fork that no longer waits for its turn copies it half closed.
            with self:
                for holder in list(self._watched):
                    holder.let_go()

    def after(self) -> None:
        """The fork is over, or has failed, in the parent.

        May come alone: this module may be imported within a fork, or a wait may have been in vain.
        """
        with self._changed:
            if self._turn and not self._is_turn_of_another(threading.get_ident()):
                self._turn.pop()
            self._changed.notify_all()

    def renew(self) -> None:
        """In the child: nobody is inside, and what is open all the same stays so for ever."""
        self.tainted = self.tainted or bool(self._inside)
        self._changed = threading.Condition(threading.RLock())
        self._inside = {}
        self._turn = []
        for holder in list(self._watched):
            for thing in holder.inherited():
                self.tainted = True
                # One reference that nothing gives back, not even the interpreter's end.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))

    def _is_alone(self) -> bool:
        """Take the turn to fork, and wait for those inside; false if that took too long."""
        me = threading.get_ident()
        end = time.monotonic() + LONGEST
        with self._changed:
            # A signal's handler may fork in a thread that is inside, and would wait for itself.
            waits = me not in self._inside
            if self._is_turn_of_another(me) and not (
                waits and self._changed.wait_for(lambda: not self._turn, LONGEST)
            ):
                return False
            self._turn.append(me)
            return waits and self._changed.wait_for(
                lambda: not self._inside, end - time.monotonic()
            )

    def _is_turn_of_another(self, me: int) -> bool:
        return bool(self._turn) and self._turn[0] != me


#: SQLite's state is one for the process, and so is this.
quiet = Quiet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=quiet.before, after_in_parent=quiet.after, after_in_child=quiet.renew
    )
