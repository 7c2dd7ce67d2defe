"""``xqueue task why``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID


@click.command()
@click.argument("id", shell_complete=ID)
@asks
def why(call: Caller, id: str) -> None:
    """Tell why a task is not running, and what to do.

    Exits with 3 if no such task is known. Times within JSON reasons are UTC seconds.
    """
    import msgspec

    from xqueue_core.cli.exits import NotFound
    from xqueue_core.cli.output import printable
    from xqueue_core.why import Unknown

    found = call.run(lambda app: app.handle(id).why())
    for one in found.reasons:
        if isinstance(one, Unknown):
            raise NotFound(one.text)
    lines = (printable(line) for line in found.text().split("\n"))
    call.out.show(msgspec.to_builtins(found), "\n".join(lines))
