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

    Below a reason stand the commands that would help, if there are any.

    Exits with 3 if no such task is known. Times within JSON reasons are UTC seconds.
    """
    import msgspec

    from xqueue_core.cli.exits import NotFound
    from xqueue_core.cli.output import printable
    from xqueue_core.cli.remedies import remedies
    from xqueue_core.why import Unknown

    found = call.run(lambda app: app.handle(id).why())
    for one in found.reasons:
        if isinstance(one, Unknown):
            raise NotFound(one.text)
    helps = remedies(found, *call.named())
    data = msgspec.to_builtins(found)
    lines = [found.text().partition("\n")[0]]
    for one, reason, commands in zip(found.reasons, data["reasons"], helps, strict=True):
        reason["commands"] = commands
        lines += [*f"- {one.text}".split("\n"), *(f"    {command}" for command in commands)]
    call.out.show(data, *map(printable, lines))
