"""``xqueue lanes pause``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import LANE


@click.command()
@click.argument("lanes", nargs=-1, required=True, metavar="LANE...", shell_complete=LANE)
@asks
def pause(call: Caller, lanes: tuple[str, ...]) -> None:
    """Start nothing more in lanes, until they are resumed.

    What runs goes on, and tasks are accepted as ever."""
    from xqueue_core.calls import Pause
    from xqueue_core.cli.laning import set_paused

    set_paused(call, lanes, Pause, True)
