"""The settings of the core, every backend and every plugin here, from their pydantic models."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from website.reference.texts import inline, table
from xqueue_core.plugins import BACKENDS, NOTIFIERS, PLUGINS, list_plugins, load_plugin
from xqueue_core.settings import Settings
from xqueue_core.settings.model import FIELDS
from xqueue_core.settings.places import PLACE

INTRO = """# Settings

In order of weight: command line options, keyword arguments of `XQueue(...)`, the environment,
`.env`, `xqueue.toml`, defaults. A setting `lease` is `XQueue(lease=30)`, `XQUEUE_LEASE=30` or
`lease = 30`. One of a backend or plugin stands in the section of its name:
`XQueue(sqlite={"busy_timeout": 10})`, `XQUEUE_SQLITE__BUSY_TIMEOUT=10`, `[sqlite]` in the file, or,
of a backend, a key of its URL's query: `sqlite:///jobs.db?busy_timeout=10`. `xqueue config` shows
every value, and where it comes from.

Where a broker is, its URL says alone: what is marked **in the URL** below is an error anywhere
else, and the error names the URL to write. User and password of a backend that takes them may stand
in its section, the environment say, where the URL does not give them.

A plugin's section does nothing unless `plugins` names the plugin.

Durations are seconds. How settings are read: [Configuration](../../README.md#configuration).
"""

_HEADS = ("name", "type", "default", "range", "meaning")


def page() -> str:
    """A table of the core's settings, one for each backend, and one for each plugin."""
    names = [name for name in Settings.model_fields if name in FIELDS]
    parts = [INTRO, "## Of every app\n", table(_HEADS, (_row(Settings, name) for name in names))]
    for group in (BACKENDS, NOTIFIERS, PLUGINS):
        place = () if group == PLUGINS else PLACE
        for name, (model, names) in _models(group).items():
            parts += _section(name, model, names, place)
    return "\n".join(parts)


def _models(group: str) -> dict[str, tuple[type[BaseModel], list[str]]]:
    """By section: the model, and the names of the plugins that have it."""
    found: dict[str, tuple[type[BaseModel], list[str]]] = {}
    for info in list_plugins(group):
        if info.distribution == "xqueue-core":
            plugin: Any = load_plugin(group, info.name)
            section = getattr(plugin.Settings, "section", info.name)
            found.setdefault(section, (plugin.Settings, []))[1].append(info.name)
    return found


def _section(
    name: str, model: type[BaseModel], names: Collection[str], place: Collection[str]
) -> Iterator[str]:
    doc = inline(" ".join((model.__doc__ or "").split()))
    yield f"## {name}\n"
    yield f"{doc}\n"
    if others := [f"`{one}://`" for one in names if one != name]:
        yield f"Also of {', '.join(others)}: the section is `[{name}]`.\n"
    rows = ((_row(model, key), field) for key, field in model.model_fields.items())
    yield table(
        _HEADS, (_marked(row, (field.alias or row[0][1:-1]) in place) for row, field in rows)
    )


def _marked(row: tuple[str, ...], in_url: bool) -> tuple[str, ...]:
    return (*row[:-1], f"{row[-1]} **In the URL.**") if in_url else row


def _row(model: type[BaseModel], name: str) -> tuple[str, ...]:
    field = model.model_fields[name]
    default = "none" if field.default is None else f"`{_shown(field.default)}`"
    return f"`{name}`", _type(field), default, _range(field), inline(field.description or "")


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, float):
        return f"{value:g}" if value < 1e6 else f"{value:.0f}"
    return str(value) if value != "" else '""'


def _type(field: FieldInfo) -> str:
    """The annotation in the words of a configuration file."""
    text = str(field.annotation)
    if choices := re.findall(r"Literal\[([^\]]*)\]", text):
        listed = "list of " if "tuple[" in text else ""
        words = (f"`{choice.strip(chr(39))}`" for choice in choices[0].split(", "))
        return listed + " or ".join(words)
    if "tuple[float" in text:
        return "list of numbers"
    kinds = {"tuple": "list of names", "int": "whole number", "float": "number", "str": "text"}
    kinds |= {"SecretStr": "text", "bool": "true or false"}
    return next(word for kind, word in kinds.items() if re.search(rf"\b{kind}\b", text))


def _range(field: FieldInfo) -> str:
    found = dict(_bounds(field.metadata))
    low, high = found.get("from", ""), found.get("to", "")
    return " ".join([part for part in (low, high, found.get("form", "")) if part])


def _bounds(metadata: list[Any]) -> Iterator[tuple[str, str]]:
    for one in metadata:
        if isinstance(one, annotated_types.Ge):
            yield "from", f"from {_shown(one.ge)}"
        elif isinstance(one, annotated_types.Gt):
            yield "from", f"above {_shown(one.gt)}"
        elif isinstance(one, annotated_types.Le):
            yield "to", f"to {_shown(one.le)}"
        elif pattern := getattr(one, "pattern", None):
            yield "form", f"`{pattern}`"
