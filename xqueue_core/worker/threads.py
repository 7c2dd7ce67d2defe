"""A bounded pool of daemon threads for plain functions.

The standard library's pool joins its threads when the interpreter exits, so one handler that
never returns would keep a worker from ever ending.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Threads:
    """Runs calls in at most ``most`` threads, which start when they are needed.

    The caller sees to it that no more than ``most`` calls are under way, so none ever waits.
    A call must not raise.
    """

    def __init__(self, most: int, name: str = "xqueue-handler") -> None:
        self._most = most
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started = 0
        self._busy = 0  # changed on the handlers' loop only

    @property
    def free(self) -> int:
        """How many more calls may be under way."""
        return self._most - self._busy

    def submit(self, call: Callable[[], None]) -> None:
        """Run a call in a thread; :meth:`finished` must be called when it has ended."""
        self._busy += 1
        self._calls.put(call)
        if self._started < self._busy:
            self._started += 1
            name = f"{self._name}-{self._started}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def finished(self) -> None:
        """One call has ended."""
        self._busy -= 1

    def close(self) -> None:
        """Let threads end as they become idle; those that run are left to themselves."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
