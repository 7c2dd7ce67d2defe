"""``xqueue lanes list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import Caller, asks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xqueue_core.connect import Connection
    from xqueue_core.permits import KeyInfo
    from xqueue_core.views import Stats


@click.command("list")
@asks
def list_lanes(call: Caller) -> None:
    """List lanes: counts, pause, limit and its holders.

    A limit that an operator has set is shown as pinned: it stands above what workers declare.
    """
    from xqueue_core.cli.shown.lanes import lanes_data, lanes_table

    stats, limits = call.ask(_asked)
    call.out.show(lanes_data(stats, limits), lanes_table(stats, limits))


async def _asked(connection: Connection) -> tuple[Stats, Mapping[str, KeyInfo]]:
    from xqueue_core.cli.views import asked_limits, asked_stats

    stats = await asked_stats(connection)
    return stats, await asked_limits(connection, sorted(stats.lanes))
