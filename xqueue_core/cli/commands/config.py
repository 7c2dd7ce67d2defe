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

    Secrets are shown as ***. The order of weight: command line, keywords of the app,
    environment, .env, xqueue.toml, defaults.
    """
    from xqueue_core.settings import explain

    settings = [one for one in explain(call.app.settings()) if not said or one.origin != "default"]
    data = [one._asdict() for one in settings]
    call.out.show({"settings": data}, Table(("name", "value", "origin"), settings))
