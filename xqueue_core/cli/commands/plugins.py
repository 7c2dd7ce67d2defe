"""``xqueue plugins``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import json_option
from xqueue_core.cli.output import Output, Table


@click.command()
@click.option("--check", is_flag=True, help="Load each, and say what is wrong with it.")
@json_option
def plugins(check: bool, as_json: bool) -> None:
    """List what is installed, importing none of it.

    With --check each is loaded; exit code 1 says that one cannot be.
    """
    from xqueue_core.plugins import GROUPS, PluginInfo, list_plugins, load_plugin

    def problem(info: PluginInfo) -> str | None:
        from xqueue_core.errors import XQueueError

        try:
            load_plugin(info.group, info.name)
        except XQueueError as error:
            return str(error)
        return None

    infos = [info for group in GROUPS for info in list_plugins(group)]
    data = [
        {
            "group": info.group,
            "name": info.name,
            "target": info.target,
            "distribution": info.distribution or None,
            "version": info.version or None,
            **({"problem": problem(info)} if check else {}),
        }
        for info in infos
    ]
    columns = ["group", "name", "distribution", "version", "target"]
    rows = [[one[name] for name in columns] for one in data]
    if check:
        columns.append("problem")
        rows = [[*row, one["problem"] or "none"] for row, one in zip(rows, data, strict=True)]
    Output(as_json).show({"plugins": data}, Table(columns, rows))
    if any(one.get("problem") for one in data):
        click.get_current_context().exit(1)
