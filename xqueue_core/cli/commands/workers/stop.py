"""``xqueue workers stop``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import WORKER


@click.command()
@click.argument("workers", nargs=-1, required=True, metavar="ID...", shell_complete=WORKER)
@asks
def stop(call: Caller, workers: tuple[str, ...]) -> None:
    """Let workers drain and end.

    They learn of it by their next heartbeat; no other is started in their place. The beginning of
    an ID will do, if it fits one worker alone.
    """
    from xqueue_core.calls import Order
    from xqueue_core.cli.ordering import order

    order(call, workers, lambda one: Order(one.beat.worker, one.quiet, stop=True), "will stop:")
