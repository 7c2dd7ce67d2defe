"""What holds in the section of one backend or plugin, and where each value is from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from xqueue_core.settings.model import Explained, Settings
from xqueue_core.settings.problems import shown
from xqueue_core.settings.secrets import is_secret
from xqueue_core.settings.sections import said
from xqueue_core.settings.sources import Values


def explain_section(
    settings: Settings,
    own: BaseModel,
    section: str,
    url: str | None = None,
    shared: Collection[str] = (),
) -> list[Explained]:
    """Every setting of one backend or plugin, in the order of its model; secrets hidden.

    Args:
        settings: the app's.
        own: the settings in force, made of them.
        section: the section's name.
        url: name of the app's setting whose URL chose the backend; None of a plugin.
        shared: settings that the app's hold for where the section says nothing.
    """
    name = section.replace("-", "_")
    found = said(settings, "" if url is None else getattr(settings, url) or "", type(own), name)
    lines = []
    for path, value in _values((), own):
        origin = _origin((name, *path), found, own)
        if origin is None and len(path) == 1 and path[0] in shared:
            origin = settings.origin[path[0]]
        elif origin is not None and origin.startswith("URL ") and url is not None:
            # The default of the URL is a default of what stands in it.
            origin = "default" if settings.origin[url] == "default" else origin
        dotted = ".".join((name, *path))
        lines.append(Explained(dotted, _value(dotted, path, value, type(own)), origin or "default"))
    return lines


def _values(path: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], object]]:
    """Each setting by its path; tables within are taken apart, as they are where they are said."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _values((*path, name), getattr(value, name))
    elif isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _values((*path, str(key)), one)
    else:
        yield path, value


def _origin(path: tuple[str, ...], found: Values, own: BaseModel) -> str | None:
    """Where it was said, by its own name or its alias, alone or with the table it is in."""
    field = type(own).model_fields[path[1]]
    names = [path[1], *([field.alias] if isinstance(field.alias, str) else [])]
    for length in range(len(path), 1, -1):
        for name in names:
            if (one := found.get((path[0], name, *path[2:length]))) is not None:
                return one.origin
    return None


def _value(dotted: str, path: tuple[str, ...], value: object, model: type[BaseModel]) -> str:
    if value is not None and is_secret(path, model):
        return "***"
    if isinstance(value, Mapping):
        return "{}"  # one with something in it was taken apart
    return shown(dotted, _plain(value))


def _plain(value: object) -> Any:
    """In the words of a file: what a model makes of a text is shown as the text."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return value
