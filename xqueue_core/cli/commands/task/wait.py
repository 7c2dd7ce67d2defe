"""``xqueue task wait``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID
from xqueue_core.cli.params import DURATION


@click.command()
@click.argument("id", shell_complete=ID)
@click.option("--timeout", type=DURATION, help="Longest wait: seconds, or such as 10m.")
@asks
def wait(call: Caller, id: str, timeout: float | None) -> None:
    """Wait until a task has ended, and print its result.

    Exit codes: 0 it succeeded, 1 it did not, 3 there is no such task, 4 it has not ended in time.
    """
    from xqueue_core.cli.waiting import ended

    call.run(lambda app: ended(app.handle(id), timeout, call.out, {}))
