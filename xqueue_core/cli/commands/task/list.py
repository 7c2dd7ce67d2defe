"""``xqueue task list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.filters import made, paged, where

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.views import Tasks


@click.command("list")
@where()
@paged
@asks
def list_tasks(
    call: Caller,
    states: tuple[str, ...],
    types: tuple[str, ...],
    lanes: tuple[str, ...],
    limit: int,
    after: str | None,
) -> None:
    """List tasks, a page at a time.

    Waiting tasks come first, in the order in which they start, then those that run, then those that
    have ended, the oldest end first. Each filter may be repeated. Results and histories are left to
    `task show`.
    """
    from xqueue_core.cli.nearby import warn_of_unknown
    from xqueue_core.cli.paging import page
    from xqueue_core.cli.shown.tasks import listed, summary

    filter = made(states, types, lanes)

    async def look(app: XQueue) -> Tasks:
        some = await page(app, filter, after, limit)
        if not some.items:
            await warn_of_unknown(app, types, lanes)
        return some

    found = call.run(look)
    data = {"tasks": [summary(info) for info in found.items], "next": found.next}
    call.out.show(data, listed(found.items))
    if found.next is not None:
        call.out.note(f"More: --after {found.next}")
