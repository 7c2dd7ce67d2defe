"""``xqueue schedules list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import Caller, asks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xqueue_core.connect import Connection
    from xqueue_core.views import Schedule


@click.command("list")
@asks
def list_schedules(call: Caller) -> None:
    """List recurring schedules, and when they fire.

    A schedule is listed once a worker has announced it; `seen` tells when that was last.
    """
    from xqueue_core.cli.shown.schedules import schedule_data, schedules_table
    from xqueue_core.cli.shown.values import iso

    found, at = call.ask(_asked)
    data = [schedule_data(one, at) for one in found]
    call.out.show({"at": iso(at), "schedules": data}, schedules_table(data))


async def _asked(connection: Connection) -> tuple[Sequence[Schedule], float]:
    """The schedules, and the broker's clock."""
    from xqueue_core.cli.views import asked_schedules, asked_stats

    return await asked_schedules(connection), (await asked_stats(connection)).at
