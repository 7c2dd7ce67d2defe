"""``xqueue plugins``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from xqueue_core.cli.caller import json_option
from xqueue_core.cli.output import Output, Table

if TYPE_CHECKING:
    from xqueue_core.plugins import PluginInfo


@click.command()
@click.option("--check", is_flag=True, help="Load each, and say what is wrong with it.")
@json_option
def plugins(check: bool, as_json: bool) -> None:
    """List what is installed, importing none of it.

    Used are those that environment and files here name; keywords of an app are shown by `xqueue
    config`. With --check each is loaded; exit code 1 says that one cannot be.
    """
    from xqueue_core.plugins import GROUPS, list_plugins, load_plugin

    def problem(info: PluginInfo) -> str | None:
        from xqueue_core.errors import XQueueError

        try:
            load_plugin(info.group, info.name)
        except XQueueError as error:
            return str(error)
        return None

    used = _used()
    infos = [info for group in GROUPS for info in list_plugins(group)]
    data = [
        {
            "group": info.group,
            "name": info.name,
            "target": info.target,
            "distribution": info.distribution or None,
            "version": info.version or None,
            "used": None if used is None else (info.group, info.name) in used,
            **({"problem": problem(info)} if check else {}),
        }
        for info in infos
    ]
    if check:
        data += _missing(used or set(), infos)
    columns = ["group", "name", "distribution", "version", "used", "target"]
    words: dict[object, str] = {True: "yes", False: "no", None: "?"}
    rows = [[words[one[n]] if n == "used" else one[n] for n in columns] for one in data]
    if check:
        columns.append("problem")
        rows = [[*row, one["problem"] or "none"] for row, one in zip(rows, data, strict=True)]
    Output(as_json).show({"plugins": data}, Table(columns, rows))
    if any(one.get("problem") for one in data):
        click.get_current_context().exit(1)


def _missing(used: set[tuple[str, str]], infos: Sequence[PluginInfo]) -> list[dict[str, Any]]:
    """What the settings name and nobody has installed, each with what is wrong."""
    from xqueue_core.connect import INLINE
    from xqueue_core.errors import XQueueError
    from xqueue_core.plugins import BACKENDS, NOTIFIERS, load_plugin
    from xqueue_core.settings import backend_name

    there = {(info.group, info.name) for info in infos}
    there |= {(BACKENDS, backend_name(INLINE))}
    missing = []
    for group, name in sorted(used - there):
        if group == NOTIFIERS or (group == BACKENDS and (NOTIFIERS, name) in there):
            continue  # one of the two is enough for a notifier
        try:
            load_plugin(group, name)
        except XQueueError as error:
            nothing = dict.fromkeys(("target", "distribution", "version"))
            missing.append(
                {"group": group, "name": name, **nothing, "used": True, "problem": str(error)}
            )
    return missing


def _used() -> set[tuple[str, str]] | None:
    """Groups and names that the settings name; None if those cannot be read."""
    from xqueue_core.errors import ConfigError
    from xqueue_core.plugins import BACKENDS, NOTIFIERS, PLUGINS
    from xqueue_core.settings import backend_name, load_settings

    try:
        settings = load_settings()
    except ConfigError:
        return None
    urls = (settings.url, settings.semaphore_url, settings.view_url, settings.notifier_url)
    used = {(BACKENDS, backend_name(url)) for url in urls if url is not None}
    if settings.notifier_url is not None:
        used.add((NOTIFIERS, backend_name(settings.notifier_url)))
    return used | {(PLUGINS, name) for name in settings.plugins}
