"""Late imports, for which a fork waits.

Much is imported at the first use alone, by whatever thread that is in. At a fork, the lock of a
module that another thread is just importing would be held in the child for ever.
"""

from __future__ import annotations

import os
import threading

#: Longest that a fork waits (seconds): who imports may itself wait for the one that forks.
LONGEST = 5.0


class Loading:
    """A context that late imports of several threads may be in, and no fork comes in between.

    That is a fact about the process, like the locks of its modules, and so there is one of it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forking: list[int] = []  # threads, once for each turn: forks may be nested
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._after, after_in_child=self._in_child
            )

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _before(self) -> None:
        if self._lock.acquire(timeout=LONGEST):
            self._forking.append(threading.get_ident())

    def _after(self) -> None:
        if threading.get_ident() in self._forking:
            self._forking.remove(threading.get_ident())
            self._lock.release()

    def _in_child(self) -> None:
        turns = self._forking.count(threading.get_ident())
        self._forking.clear()
        for _ in range(turns):  # no fork that goes on here has one left to end
            self._lock.release()
        if not turns:  # another thread has it, which is not in this process
            self._lock = threading.RLock()


loading = Loading()
