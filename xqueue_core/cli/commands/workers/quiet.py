"""``xqueue workers quiet``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import WORKER


@click.command()
@click.argument("workers", nargs=-1, required=True, metavar="ID...", shell_complete=WORKER)
@click.option("--off", is_flag=True, help="Let them lease again.")
@asks
def quiet(call: Caller, workers: tuple[str, ...], off: bool) -> None:
    """Let workers lease nothing more.

    They learn of it by their next heartbeat, and may lease until then; what runs goes on. The
    beginning of an ID will do, if it fits one worker alone.
    """
    from xqueue_core.calls import Order
    from xqueue_core.cli.ordering import order

    order(
        call,
        workers,
        lambda one: Order(one.beat.worker, quiet=not off, stop=one.stop),
        "will lease again:" if off else "will lease nothing more:",
    )
