"""``xqueue stats``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks


@click.command()
@asks
def stats(call: Caller) -> None:
    """Show how many tasks there are, by lane and type.

    scheduled, pending and processing are how many there are now; every other number only grows.
    """
    from xqueue_core.cli.shown.stats import stats_data, stats_parts
    from xqueue_core.cli.views import asked_stats

    found = call.ask(asked_stats)
    call.out.show(stats_data(found), *stats_parts(found))
