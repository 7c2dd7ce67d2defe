"""``xqueue task replay``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID
from xqueue_core.cli.params import DURATION


@click.command()
@click.argument("id", shell_complete=ID)
@click.option("--delay", type=DURATION, default=0.0, help="Until it may start; 0.")
@asks
def replay(call: Caller, id: str, delay: float) -> None:
    """Run a task that has ended again, from its first attempt.

    Exit code 5: it has not ended, or another task holds its unique key.
    """
    from xqueue_core.calls import Did
    from xqueue_core.cli.verdicts import tell

    did = call.order(lambda app: app.handle(id).replay(delay=delay))
    said = f"replayed {id}"
    tell(call.out, id, did, "replay", {Did.APPLIED: said, Did.REPEATED: said})
