"""``xqueue lanes resume``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import LANE


@click.command()
@click.argument("lanes", nargs=-1, required=True, metavar="LANE...", shell_complete=LANE)
@asks
def resume(call: Caller, lanes: tuple[str, ...]) -> None:
    """Undo a pause."""
    from xqueue_core.calls import Resume
    from xqueue_core.cli.laning import set_paused

    set_paused(call, lanes, Resume, False)
