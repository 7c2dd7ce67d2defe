"""The one seam between the engine and the loop that runs handlers.

Everything that passes between the two passes here, in batches: whatever gathers until the other
side looks crosses by one ``call_soon_threadsafe``. Both sides may as well share one loop; a
simulation supplies a ``schedule`` that delays, reorders or cuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from xqueue_core.task import Event
from xqueue_core.worker.job import Job, Recall, Resize, Tell

T = TypeVar("T")

#: Runs a callback soon on the receiving side; called from any thread.
Schedule = Callable[[Callable[[], None]], Any]

#: What goes to the handlers: jobs to run and words about them.
Inward = Job | Tell | Recall | Resize
#: What comes back: jobs that ended, and progress.
Outward = Job | Event


class Pipe(Generic[T]):
    """One direction: items in order, delivered in batches on the receiver's loop."""

    __slots__ = ("_armed", "_items", "_receive", "_schedule")

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._items: deque[T] = deque()
        self._armed = False
        self._receive: Callable[[list[T]], None] | None = None

    def connect(self, receive: Callable[[list[T]], None]) -> None:
        """Name the receiver; what was sent before is delivered now."""
        self._receive = receive
        if self._items:
            self._arm()

    def send(self, item: T) -> None:
        """Send one item; from any thread."""
        self._items.append(item)
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        if self._receive is None:
            return
        self._armed = True
        try:
            self._schedule(self._deliver)
        except RuntimeError:  # the receiver's loop is closed: nobody is left to tell
            self._items.clear()

    def _deliver(self) -> None:
        # Disarmed before it is emptied: an item appended in between is seen here or arms again.
        self._armed = False
        items = self._items
        batch = [items.popleft() for _ in range(len(items))]
        if batch and self._receive is not None:
            self._receive(batch)


class Crossing:
    """Both directions."""

    def __init__(self, to_handlers: Schedule, to_engine: Schedule) -> None:
        self.inward: Pipe[Inward] = Pipe(to_handlers)
        self.outward: Pipe[Outward] = Pipe(to_engine)
