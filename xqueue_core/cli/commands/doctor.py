"""``xqueue doctor``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks


@click.command()
@asks
def doctor(call: Caller) -> None:
    """See whether everything is in order.

    Settings, backend, database, connection, clocks, ledger, workers and lanes, with the versions
    that run here and what the backend promises. Nothing is made or changed. Exit code 1 says that
    something is wrong; a note is worth knowing, and no more.
    """
    from xqueue_core.cli.examining import examine
    from xqueue_core.cli.output import Part, Table
    from xqueue_core.cli.shown.values import compact

    found = examine(call)
    data = found.data()
    checks = [
        (one.check, one.verdict, f"{one.detail}: {one.advice}" if one.advice else one.detail)
        for one in found.checks
    ]
    facts = [(name, version) for name, version in data["versions"].items() if version]
    for broker in data["brokers"]:
        facts += [(name, compact(value)) for name, value in broker["capabilities"].items()]
    facts += [(name, compact(value)) for name, value in (found.describe or {}).items()]
    parts: list[Part] = [
        Table(("check", "verdict", "detail"), checks),
        "",
        Table(("fact", "value"), facts),
    ]
    call.out.show(data, *parts)
    click.get_current_context().exit(0 if found.ok else 1)
