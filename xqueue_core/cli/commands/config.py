"""``xqueue config``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.output import Table


@click.command()
@click.option("--set", "said", is_flag=True, help="Only what was said, no defaults.")
@asks
def config(call: Caller, said: bool) -> None:
    """Show every setting, and where it is from.

    With those of the brokers and plugins in use. Secrets are shown as ***. The order of weight:
    command line, keywords of the app, environment, .env, xqueue.toml, defaults; of a broker's own
    settings its URL weighs most.
    """
    from xqueue_core.cli.configured import configured
    from xqueue_core.cli.output import echo, printable

    every, warnings = configured(call.app)
    settings = [one for one in every if not said or one.origin != "default"]
    data = [one._asdict() for one in settings]
    call.out.show({"settings": data}, Table(("name", "value", "origin"), settings))
    for one in warnings:
        echo(printable(f"Warning: {one}"), err=True)
