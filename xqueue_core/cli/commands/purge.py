"""``xqueue purge``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID
from xqueue_core.cli.filters import STATES, where
from xqueue_core.cli.picking import confirmed, why_option

_FINAL = ("success", "failed", "canceled", "timeout")


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=ID)
@where((*STATES, "quarantined"))
@why_option
@confirmed
@asks
def purge(
    call: Caller,
    ids: tuple[str, ...],
    states: tuple[str, ...],
    types: tuple[str, ...],
    lanes: tuple[str, ...],
    error: str | None,
    older_than: float | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Forget tasks that have ended; cancel others.

    The tasks are named by their ids, or by a filter. A filter finds tasks that have ended, unless
    --state names other states: those are canceled, with the reason `purged`. Damaged tasks are
    forgotten if they are named, or by --state quarantined. There is no way back.
    """
    from xqueue_core.calls import Did, Purge
    from xqueue_core.cli.picking import Pick, carry_out, picked
    from xqueue_core.ids import split_id
    from xqueue_core.views import Filter

    filtered = bool(states or types or lanes or error is not None or older_than is not None)
    if bool(ids) is filtered:
        raise click.UsageError("say which tasks: by their ids, or by --state, --type, --lane, ...")
    for id in ids:
        split_id(id)
    carry_out(
        call,
        Pick(Filter(), ids=ids) if ids else picked(states, types, lanes, error, older_than, _FINAL),
        lambda id: Purge(id=id),
        verb="Purge",
        past="purged",
        fine=(Did.APPLIED, Did.REQUESTED, *(() if ids else (Did.UNKNOWN,))),
        dry_run=dry_run,
        yes=yes,
    )
