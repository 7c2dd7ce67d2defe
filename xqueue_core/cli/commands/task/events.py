"""``xqueue task events``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.cli.output import Output


@click.command()
@click.argument("id", shell_complete=ID)
@click.option("--after", metavar="CURSOR", help="Go on behind an event seen before.")
@asks
def events(call: Caller, id: str, after: str | None) -> None:
    """Follow what happens to a task, from now on until it ends.

    One line for each event; --json prints JSON lines. Each has the cursor behind it, from which
    another call goes on. Of a task that has ended nothing comes: see `task show`.
    """
    call.run(lambda app: _follow(app, id, after, call.out))


async def _follow(app: XQueue, id: str, after: str | None, out: Output) -> None:
    from xqueue_core.cli.shown.events import event_data, event_text

    handle = app.handle(id)
    await handle.info()  # raises if there is no such task
    async for notice in handle.events(after):
        out.line(event_data(notice), event_text(notice))
