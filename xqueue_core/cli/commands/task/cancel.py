"""``xqueue task cancel``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID


@click.command()
@click.argument("id", shell_complete=ID)
@click.option("--reason", default="", help="Kept with the task.")
@asks
def cancel(call: Caller, id: str, reason: str) -> None:
    """Cancel a task.

    One that has not started never will; one that runs is told, and its end decides. Exit code 5:
    it had ended.
    """
    from xqueue_core.calls import Did
    from xqueue_core.cli.verdicts import tell

    did = call.order(lambda app: app.handle(id).cancel(reason))
    texts = {
        Did.APPLIED: f"canceled {id}",
        Did.REQUESTED: f"asked for the end of {id}, which runs",
    }
    tell(call.out, id, did, "cancel", texts)
