"""``xqueue task list``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.filters import made, paged, where


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

    Each option may be repeated. Results and histories are left to `task show`.
    """
    from xqueue_core.cli.paging import page
    from xqueue_core.cli.shown.tasks import listed, summary

    filter = made(states, types, lanes)
    found = call.run(lambda app: page(app, filter, after, limit))
    data = {"tasks": [summary(info) for info in found.items], "next": found.next}
    call.out.show(data, listed(found.items))
    if found.next is not None:
        call.out.note(f"More: --after {found.next}")
