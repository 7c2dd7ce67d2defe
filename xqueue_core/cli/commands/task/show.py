"""``xqueue task show``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID


@click.command()
@click.argument("id", shell_complete=ID)
@asks
def show(call: Caller, id: str) -> None:
    """Show one task with its history."""
    from xqueue_core.cli.shown.tasks import details, parts

    info = call.run(lambda app: app.handle(id).info())
    call.out.show(details(info), *parts(info))
