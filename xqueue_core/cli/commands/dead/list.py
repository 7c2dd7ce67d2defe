"""``xqueue dead list``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.filters import paged, where
from xqueue_core.cli.picking import why_option


@click.command("list")
@where(("failed", "timeout", "quarantined"))
@why_option
@paged
@asks
def list_dead(
    call: Caller,
    states: tuple[str, ...],
    types: tuple[str, ...],
    lanes: tuple[str, ...],
    error: str | None,
    older_than: float | None,
    limit: int,
    after: str | None,
) -> None:
    """List tasks that failed, took too long, or are damaged.

    Those that cannot be decoded are in quarantine; they are listed by --state quarantined alone.
    """
    from xqueue_core.cli.burying import dead_page
    from xqueue_core.cli.picking import picked
    from xqueue_core.cli.shown.tasks import listed, summary

    pick = picked(states, types, lanes, error, older_than, ("failed", "timeout"))
    found, hidden = call.run(lambda app: dead_page(app, pick, after, limit))
    data = {
        "tasks": [summary(info) for info in found.items],
        "next": found.next,
        "quarantined": hidden,
    }
    call.out.show(data, listed(found.items))
    if found.next is not None:
        call.out.note(f"More: --after {found.next}")
    if hidden and not pick.quarantined:
        call.out.note(f"In quarantine: {hidden}; see --state quarantined")
