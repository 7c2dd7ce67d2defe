"""Sections of plugins that nobody uses: what is said in them does nothing."""

from __future__ import annotations

from typing import NamedTuple

from xqueue_core import plugins
from xqueue_core.settings.model import Settings


class Unused(NamedTuple):
    """A section of a plugin that is installed, and that ``plugins`` does not name.

    Attributes:
        detail: which one, and where it was said.
        advice: the line to add.
    """

    detail: str
    advice: str

    def __str__(self) -> str:
        return f"{self.detail}: {self.advice}"


def unused_sections(settings: Settings) -> list[Unused]:
    """Sections that do nothing, because ``plugins`` does not name their plugins.

    Those of backends and notifiers are none of them: whoever changes the broker by its URL alone
    keeps the settings of both.
    """
    if not settings.sections:
        return []  # the installed plugins are looked up only if there is a section
    used = {_section(name) for name in settings.plugins}
    others = {
        _section(info.name)
        for group in plugins.GROUPS
        if group != plugins.PLUGINS
        for info in plugins.list_plugins(group)
    }
    installed = {_section(info.name): info.name for info in plugins.list_plugins(plugins.PLUGINS)}
    return [
        _unused(settings, name, installed[name])
        for name in settings.sections
        if name in installed and name not in used | others
    ]


def _section(name: str) -> str:
    return name.replace("-", "_")


def _unused(settings: Settings, section: str, plugin: str) -> Unused:
    said = list(settings.found(section).values())
    # Of a table in a file the first is the table itself.
    origin = said[0].origin if said else f"section {section!r}"
    names = [*settings.plugins, plugin]
    listed = ", ".join(f'"{name}"' for name in names)
    return Unused(
        f"the section [{section}] ({origin}) does nothing, for the plugin is not in use",
        f"add `plugins = [{listed}]` above all sections, or set XQUEUE_PLUGINS={','.join(names)}",
    )
