"""``xqueue dead replay``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.filters import where
from xqueue_core.cli.params import DURATION
from xqueue_core.cli.picking import confirmed, why_option


@click.command("replay")
@where(("failed", "timeout"))
@why_option
@click.option("--delay", type=DURATION, default=0.0, help="Until they may start; 0.")
@confirmed
@asks
def replay_dead(
    call: Caller,
    states: tuple[str, ...],
    types: tuple[str, ...],
    lanes: tuple[str, ...],
    error: str | None,
    older_than: float | None,
    delay: float,
    dry_run: bool,
    yes: bool,
) -> None:
    """Run tasks that failed or took too long again.

    All that match, from their first attempt; without a filter all there are. It asks before,
    unless --yes is given. Which match is decided before any is replayed, so that one that fails
    again is not replayed twice.
    """
    from xqueue_core.calls import Did, Replay
    from xqueue_core.cli.carrying import Deed, carry_out
    from xqueue_core.cli.picking import picked
    from xqueue_core.client.options import check_edit

    check_edit(None, delay)
    uuid = call.app._client.uuid
    deed = Deed(
        lambda info: Replay(id=info.id, request=uuid(), delay=delay, seq=info.seq),
        verb="Replay",
        past="replayed",
        fine=(Did.APPLIED, Did.REPEATED),
        # Somebody else has replayed it meanwhile; it may even have succeeded.
        left=(Did.LIVE, Did.CHANGED, Did.UNKNOWN),
    )
    pick = picked(states, types, lanes, error, older_than, ("failed", "timeout"))
    carry_out(call, pick, deed, dry_run=dry_run, yes=yes)
