"""``xqueue schedules trigger``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks, submitted
from xqueue_core.cli.completing import SCHEDULE


@click.command()
@click.argument("name", shell_complete=SCHEDULE)
@asks
def trigger(call: Caller, name: str) -> None:
    """Submit the task of a schedule now.

    The app, named by --app or in the settings, declares it. It is a task beside the schedule's
    own: it takes no slot, and runs also while an earlier one has not ended.
    """
    from xqueue_core.cli.triggering import call_of

    made = call_of(call.app, name)
    handle = call.run(lambda app: submitted(app, made), make=True, submits=True)
    call.out.show({"schedule": name, "id": handle.id}, handle.id)
