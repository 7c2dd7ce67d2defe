"""Pages through the broker's tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from xqueue_core.cli.caller import ask
from xqueue_core.views import Filter, TaskInfo, Tasks

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.connect import Connection

#: Tasks asked for at a time.
PAGE = 500

Wanted = Callable[[TaskInfo], bool]


async def page(
    app: XQueue, filter: Filter, after: str | None, limit: int, wanted: Wanted | None = None
) -> Tasks:
    """A full page: ``limit`` tasks that match, or all that are left.

    A broker's own pages may be short before the end; ``next`` is None at the end alone.
    """
    found = Tasks([], after)
    while len(found.items) < limit:
        some = await _asked(app, filter, found.next, limit - len(found.items))
        found.items += [info for info in some.items if wanted is None or wanted(info)]
        found.next = some.next
        if some.next is None:
            break
    return found


async def every(
    app: XQueue, filter: Filter, wanted: Wanted | None = None
) -> AsyncIterator[TaskInfo]:
    """Every task that matches, once."""
    after: str | None = None
    seen: set[str] = set()
    while True:
        some = await _asked(app, filter, after, PAGE)
        for info in some.items:
            # One that moves on between two pages may show twice.
            if info.id not in seen and (wanted is None or wanted(info)):
                seen.add(info.id)
                yield info
        after = some.next
        if after is None:
            return


async def _asked(app: XQueue, filter: Filter, after: str | None, limit: int) -> Tasks:
    async def call(connection: Connection) -> Tasks:
        tasks: Tasks = await connection.faces.needed("view").list(filter, after, limit)
        return tasks

    return await ask(app, call)
