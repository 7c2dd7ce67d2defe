"""Reads all sources, tells what is not known in them, and makes the settings."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource

from xqueue_core import plugins
from xqueue_core.errors import ConfigError, UnknownSetting
from xqueue_core.foreign_options import setting_hint
from xqueue_core.settings import sources
from xqueue_core.settings.model import FIELDS, Settings
from xqueue_core.settings.problems import Known, config_error, nearest
from xqueue_core.settings.sources import Found, SettingsWarning


def load_settings(
    overrides: Mapping[str, object] | None = None,
    *,
    cli_overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    sections: Collection[str] | None = None,
) -> Settings:
    """Read the settings from all sources.

    Args:
        overrides: keyword arguments of the app; None as a value means not given. A mapping is a
            section: ``{"sqlite": {"busy_timeout": 5}}``.
        cli_overrides: the same from command-line flags, which stand above the keywords.
        environ: variables to read; by default those of the process.
        folder: where ``xqueue.toml`` and ``.env`` are looked for; by default the working folder.
        sections: names that a section may have; by default those of the installed plugins, with
            ``_`` for ``-``.

    Raises:
        UnknownSetting: a key in the file, the keywords or the flags is not known.
        ConfigError: a value has the wrong form or is out of range, or a file cannot be read.

    Warns:
        SettingsWarning: an ``XQUEUE_*`` variable is not known; it is ignored.
    """
    place = Path.cwd() if folder is None else folder.absolute()
    variables = os.environ if environ is None else environ
    found = sources.merged(
        one
        for source in (
            sources.from_file(place / sources.FILE, FIELDS),
            sources.from_variables(_dotenv(place / ".env"), f"{place / '.env'}:"),
            sources.from_variables(variables, "environment variable"),
            sources.from_mapping(overrides or {}, FIELDS, "keyword argument"),
            sources.from_mapping(cli_overrides or {}, FIELDS, "command line"),
        )
        for one in source
    )
    return _made(_known(found, sections))


def with_values(
    settings: Settings, values: Mapping[str, Any], names: Mapping[str, str]
) -> Settings:
    """The settings with some values replaced by options of a worker, and checked anew.

    Args:
        settings: what was read before.
        values: by the names of settings; none is a section.
        names: what an option is called where its name is not the setting's.

    Raises:
        ConfigError: a value has the wrong form, is out of range or contradicts another.
    """

    def known(path: tuple[str, ...]) -> Known:
        name = path[0]
        origin = "a worker's option" if name in values else settings.origin[name]
        return Known(names.get(name, name), origin, Settings.model_fields[name].description or "")

    before = {name: getattr(settings, name) for name in settings.model_fields_set}
    try:
        return Settings(**{**before, **values})
    except ValidationError as error:
        problem = error
    raise config_error(problem, known)  # out here for the reason given in _made


def _dotenv(path: Path) -> Mapping[str, str | None]:
    """The variables of a ``.env`` file, ``${NAME}`` in a value replaced; none without a file."""
    try:
        return DotEnvSettingsSource(Settings, env_file=path, case_sensitive=True).env_vars
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _known(found: sources.Values, sections: Collection[str] | None) -> sources.Values:
    """What is a setting or lies in a plugin's section; the rest is an error or a warning."""
    if sections is None:
        # The installed plugins are looked up only if there is a section, or a mistake.
        plain = all(len(path) == 1 and path[0] in FIELDS for path in found)
        sections = () if plain else _plugin_sections()
    known, errors = {}, []
    for path, one in found.items():
        in_section = path[0] in sections and (len(path) > 1 or one.value == {})
        if in_section or (path[0] in FIELDS and len(path) == 1):
            known[path] = one
        elif one.lenient:
            warnings.warn(_ignored(one, sections), SettingsWarning, stacklevel=3)
        elif len(path) == 1:
            errors.append(_unknown(one, sections, found))
    if errors:
        raise UnknownSetting("; ".join(errors))
    return known


def _plugin_sections() -> set[str]:
    infos = (info for group in plugins.GROUPS for info in plugins.list_plugins(group))
    return {info.name.replace("-", "_") for info in infos}


def _unknown(one: Found, sections: Collection[str], found: sources.Values) -> str:
    name = one.path[0]
    if name in sections:
        return f"setting {name!r} ({one.origin}) is a section: it needs keys, not a value"
    if one.value == {}:
        inner = [path[1] for path in found if path[0] == name and len(path) > 1]
        if name == "xqueue" and (hint := _unwrapped(inner, sections)):
            return f"unknown section {name!r} ({one.origin}): {hint}"
        near = nearest(name, [*sections, *FIELDS])
        text = f"unknown section {name!r} ({one.origin}): no plugin of this name is installed"
        hint = setting_hint(name, None)
    else:
        near = nearest(name, [*FIELDS, *sections])
        text = f"unknown setting {name!r} ({one.origin})"
        hint = setting_hint(name, one.value)
    if hint:
        return f"{text}, {hint}"
    return f"{text}; did you mean {near!r}?" if near else text


def _unwrapped(keys: Collection[str], sections: Collection[str]) -> str:
    """How settings are written that stand in a section [xqueue], as other tools have it."""
    wanted = [f"[{key}] for [xqueue.{key}]" for key in dict.fromkeys(keys) if key in sections]
    if any(key in FIELDS for key in keys):
        wanted.append("XQueue's own settings at the top of the file, in no section")
    return f"write {', and '.join(wanted)}" if wanted else ""


def _ignored(one: Found, sections: Collection[str]) -> str:
    text = f"{one.origin} is not a setting of XQueue and is ignored"
    near = _nearest_variable(one.path, sections)
    return f"{text}; did you mean {near}?" if near else text


def _nearest_variable(path: tuple[str, ...], sections: Collection[str]) -> str | None:
    """The variable most probably meant; one `_` after a section's name is the usual mistake."""
    head, *rest = path
    for section in sections:
        if not rest and head.startswith(f"{section}_"):
            return f"{sources.PREFIX}{section}__{head.removeprefix(f'{section}_')}".upper()
    near = nearest(head, sections if rest else FIELDS)
    return sources.PREFIX + "__".join((near, *rest)).upper() if near else None


def _made(found: sources.Values) -> Settings:
    values: dict[str, Any] = {
        path[0]: one.value for path, one in found.items() if path[0] in FIELDS
    }
    in_sections = {path: one for path, one in found.items() if path[0] not in FIELDS}
    try:
        settings = Settings(**values, sections=sources.nested(in_sections))
    except ValidationError as error:
        problem = error
    else:
        settings.remember(found)
        return settings
    # Raised out here so that pydantic's error, which holds the values, is not its context.
    raise config_error(problem, lambda path: _known_field(path, found))


def _known_field(path: tuple[str, ...], found: sources.Values) -> Known:
    name = path[0]
    one = found.get((name,))
    allowed = Settings.model_fields[name].description or ""
    return Known(name, one.origin if one else "default", allowed)
