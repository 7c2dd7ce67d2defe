"""Every setting that holds for an app: its own, and those of its brokers and plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from xqueue_core.connect import INLINE, SHARED, broker_settings
from xqueue_core.errors import ConfigError
from xqueue_core.plugged import own_settings
from xqueue_core.settings import (
    Explained,
    backend_name,
    explain,
    explain_section,
    section_name,
    unused_sections,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from xqueue_core.app import XQueue

_URLS = ("url", "semaphore_url", "notifier_url", "view_url")


def configured(app: XQueue) -> tuple[list[Explained], list[str]]:
    """Every setting, and what is worth a warning.

    First those of the app, then those of its brokers and plugins, then what is said in sections
    that are not in use. Where own settings are wrong, what was said of them is shown.
    """
    settings, warnings = app.settings(), [str(one) for one in unused_sections(app.settings())]
    lines: list[Explained] = []
    in_force: set[str] = set()
    for section, explained in (*_brokers(app), *_plugins(app)):
        try:
            lines += explained()
            in_force.add(section)
        except ConfigError as error:
            warnings.append(str(error))
    own = explain(settings, _model, in_force)
    first = [one for one in own if "." not in one.name]
    said = [_marked(one, app) for one in own if "." in one.name]
    return [*first, *dict.fromkeys(lines), *said], warnings


#: A section, and what holds in it.
_Section = tuple[str, Callable[[], list[Explained]]]


def _brokers(app: XQueue) -> Iterator[_Section]:
    settings = app.settings()
    urls: dict[str, str] = {}  # the same broker may be named twice: it is shown once
    for setting in _URLS:
        if (url := getattr(settings, setting)) is not None and not url.startswith(INLINE):
            urls.setdefault(url, setting)
    for url, setting in urls.items():
        yield _section_of(app, url), partial(_broker, app, setting)


def _broker(app: XQueue, setting: str) -> list[Explained]:
    settings = app.settings()
    url = getattr(settings, setting)
    own = broker_settings(settings, url, app._backends)
    return explain_section(settings, own, section_name(url, type(own)), setting, SHARED)


def _plugins(app: XQueue) -> Iterator[_Section]:
    for name in app.settings().plugins:
        yield _section(name), partial(_plugin, app, name)


def _plugin(app: XQueue, name: str) -> list[Explained]:
    own = own_settings(app, name, app._plugins.get(name))
    return explain_section(app.settings(), own, name)


def _section_of(app: XQueue, url: str) -> str:
    try:
        return section_name(url, app._backends.get(backend_name(url)).Settings)
    except ConfigError:  # of a notifier, or a plugin that cannot be used
        return _section(backend_name(url))


def _section(name: str) -> str:
    return name.replace("-", "_")


def _marked(one: Explained, app: XQueue) -> Explained:
    """What is said in a section that is not in use, or that is wrong."""
    settings = app.settings()
    urls = {getattr(settings, name) for name in _URLS} - {None}
    used = {_section_of(app, url) for url in urls} | {_section(name) for name in settings.plugins}
    if one.name.partition(".")[0] in used:
        return one
    return one._replace(origin=f"{one.origin} (not in use)")


def _model(section: str) -> type[BaseModel] | None:
    """The model of a section, which tells what in it is a secret; None if it cannot be had."""
    from xqueue_core.plugins import GROUPS, list_plugins, load_plugin

    for group in GROUPS:
        for info in list_plugins(group):
            if _section(info.name) == section:
                try:
                    model = getattr(load_plugin(group, info.name), "Settings", None)
                except ConfigError:
                    continue
                if isinstance(model, type):
                    return model
    return None
