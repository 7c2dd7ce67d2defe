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
    from xqueue_core.cli.filters import made
    from xqueue_core.cli.picking import Pick
    from xqueue_core.cli.shown.tasks import listed, summary

    if "quarantined" in states and len(states) > 1:
        raise click.UsageError("--state quarantined is listed by itself")
    wanted = ("scheduled", "pending", "processing") if "quarantined" in states else states
    filter = made(wanted or ("failed", "timeout"), types, lanes)
    pick = Pick(filter, error, older_than)
    quarantined = "quarantined" in states
    found, hidden = call.run(lambda app: dead_page(app, pick, quarantined, after, limit))
    data = {
        "tasks": [summary(info) for info in found.items],
        "next": found.next,
        "quarantined": hidden,
    }
    call.out.show(data, listed(found.items))
    if found.next is not None:
        call.out.note(f"More: --after {found.next}")
    if hidden and not quarantined:
        call.out.note(f"In quarantine: {hidden}; see --state quarantined")
