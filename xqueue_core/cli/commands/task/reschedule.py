"""``xqueue task reschedule``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID
from xqueue_core.cli.params import DURATION, MOMENT

if TYPE_CHECKING:
    from datetime import datetime


@click.command()
@click.argument("id", shell_complete=ID)
@click.option("--delay", type=DURATION, help="From now until it may start: such as 0, 90 or 10m.")
@click.option("--run-at", type=MOMENT, help="When it may start: such as 2030-01-31T09:00:00Z.")
@asks
def reschedule(call: Caller, id: str, delay: float | None, run_at: datetime | None) -> None:
    """Give a task that has not started another time, by --delay or --run-at.

    One that waits for a retry goes on with its next attempt then. Exit code 5: it has started, or
    it has ended.
    """
    from xqueue_core.calls import Did
    from xqueue_core.cli.verdicts import tell

    if (delay is None) == (run_at is None):
        raise click.UsageError("give either --delay or --run-at")
    did = call.run(lambda app: app.handle(id).reschedule(delay=delay, run_at=run_at))
    tell(call.out, id, did, "reschedule", {Did.APPLIED: f"rescheduled {id}"})
