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
    --state names other states: those are canceled, with the reason `purged`, and kept as canceled
    tasks are until they are purged once more. Damaged tasks are
    forgotten if they are named, or by --state quarantined. There is no way back.
    """
    from xqueue_core.calls import Did, Purge
    from xqueue_core.cli.carrying import Deed, carry_out
    from xqueue_core.cli.picking import Pick, picked
    from xqueue_core.ids import split_id
    from xqueue_core.views import Filter

    filtered = bool(states or types or lanes or error is not None or older_than is not None)
    if bool(ids) is filtered:
        raise click.UsageError(
            "say which tasks: by their ids, or by --state, --type, --lane, --error or --older-than"
        )
    for id in ids:
        split_id(id)
    uuid = call.app._client.uuid
    deed = Deed(
        lambda info: Purge(info.id, None if info.quarantined else info.seq, uuid()),
        verb="Purge",
        past="purged",
        fine=(Did.APPLIED, Did.REQUESTED),
        left=() if ids else (Did.CHANGED, Did.UNKNOWN),
        cancels=True,
    )
    filtered_by = picked(states, types, lanes, error, older_than, _FINAL)
    carry_out(call, Pick(Filter(), ids=ids) if ids else filtered_by, deed, dry_run=dry_run, yes=yes)
