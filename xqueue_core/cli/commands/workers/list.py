"""``xqueue workers list``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks


@click.command("list")
@asks
def list_workers(call: Caller) -> None:
    """List workers, by their last heartbeat.

    One that died stays listed until its tasks have been given to others.
    """
    from xqueue_core.cli.shown.workers import worker_data, workers_table
    from xqueue_core.cli.views import asked_workers

    found = call.ask(asked_workers)
    call.out.show({"workers": [worker_data(one) for one in found]}, workers_table(found))
