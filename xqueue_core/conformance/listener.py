"""Somebody who listens to events, and waits for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from xqueue_core.abc import Notifier
from xqueue_core.conformance.check import Broken
from xqueue_core.task import Event, EventName, Task
from xqueue_core.views import Filter

if TYPE_CHECKING:
    from xqueue_core.conformance.bench import Bench

#: Type of the tasks that show when a subscription has begun.
MARKER = "marker"


class Listener:
    """Reads a subscription in the background.

    Attributes:
        events: what came, without markers and gaps.
        cursors: the cursor behind each of them.
        gaps: notices without an event.
        first: the cursor of the first notice.
    """

    def __init__(
        self,
        bench: Bench,
        notifier: Notifier | None = None,
        *,
        after: str | None = None,
        filter: Filter | None = None,
    ) -> None:
        self.bench = bench
        self.events: list[Event] = []
        self.cursors: list[str] = []
        self.gaps = 0
        self.first = ""
        self._heard = anyio.Event()
        self._notifier = notifier or bench.notifier
        self._after = after
        self._filter = filter or Filter()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Listener]:
        """Listen within the context; from its start on nothing is missed."""
        reader = self.bench.start(self._read)
        try:
            if self._after is None:
                await self._begun()
            yield self
        finally:
            await reader.stop()

    async def _read(self) -> None:
        async for cursor, event in self._notifier.subscribe(self._filter, self._after):
            self.first = self.first or cursor
            self._heard.set()
            if event is None:
                self.gaps += 1
            elif event.type != MARKER:
                self.events.append(event)
                self.cursors.append(cursor)

    async def _begun(self) -> None:
        """Put tasks that nobody works on until one is heard of."""
        with anyio.move_on_after(5.0 * self.bench.scale):
            while not self.first:
                marker = Task(id=f"{MARKER}:{self.bench.number()}", lane=MARKER)
                await self.bench.accept(marker)
                with anyio.move_on_after(0.1):
                    await self._heard.wait()
        if not self.first:
            raise Broken("a subscription shows no event of tasks put after it began")

    @property
    def cursor(self) -> str:
        """The cursor behind the last event."""
        return self.cursors[-1]

    async def of(self, task: Task, name: EventName) -> list[Event]:
        """Wait for an event of a task, and give all of the task until then."""
        return [event for event in await self.until(task, name) if event.id == task.id]

    async def until(self, task: Task, name: EventName) -> list[Event]:
        """Wait for an event of a task, and give all that came until then."""

        async def there() -> bool:
            return any(event.id == task.id and event.name is name for event in self.events)

        await self.bench.until(f"the event {name} of {task.id} is heard", there)
        return list(self.events)

    async def stop_after(self, count: int) -> tuple[str, list[Event]]:
        """The cursor behind the first ``count`` events, and these."""

        async def enough() -> bool:
            return len(self.events) >= count

        await self.bench.until(f"{count} events are heard", enough)
        return self.cursors[count - 1], self.events[:count]
