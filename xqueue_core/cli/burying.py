"""Dead letters: what failed for good, took too long, or cannot be decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xqueue_core.cli.caller import ask
from xqueue_core.cli.nearby import warn_of_unknown
from xqueue_core.cli.paging import page
from xqueue_core.cli.views import asked_stats

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.cli.picking import Pick
    from xqueue_core.views import TaskInfo, Tasks


async def dead_page(app: XQueue, pick: Pick, after: str | None, limit: int) -> tuple[Tasks, int]:
    """A page of dead letters, and how many tasks are in quarantine.

    If those are asked for, all live tasks are looked at, unless there is none in quarantine.
    """
    from xqueue_core.views import Tasks

    stats = await ask(app, asked_stats)
    hidden = stats.total().quarantined
    if pick.quarantined and not hidden:
        return Tasks([]), 0

    def wanted(info: TaskInfo) -> bool:
        return pick.wanted(info, stats.at)

    found = await page(app, pick.filter, after, limit, wanted)
    if not found.items:
        await warn_of_unknown(app, pick.filter.types, pick.filter.lanes)
    return found, hidden
