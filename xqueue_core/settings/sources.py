"""Where settings are read: the file, ``.env``, the environment, keywords and flags.

Each source yields what it found as :class:`Found` values, which name their origin; later ones
replace earlier ones. Nothing here knows what a setting means: ``model.py`` does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from xqueue_core.errors import ConfigError

#: Prefix of environment variables.
PREFIX: Final = "XQUEUE_"
#: Name of the settings file, looked for in the working folder.
FILE: Final = "xqueue.toml"

# What a container platform sets for a service called `xqueue` or `xqueue-...`.
_PLATFORM_NAME = re.compile(
    r"XQUEUE_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_PLATFORM_VALUE = re.compile(r"(?:tcp|udp|sctp)://")


class SettingsWarning(UserWarning):
    """An ``XQUEUE_*`` environment variable is not a setting and was ignored."""


@dataclass(frozen=True, slots=True)
class Found:
    """One value that one source gave.

    Attributes:
        path: the setting's name, or section and key; a nested table makes it longer.
        value: as the source gave it; text, where the source is the environment.
        origin: where it was found, in words.
        lenient: an unknown name here is a warning, not an error.
    """

    path: tuple[str, ...]
    value: object
    origin: str
    lenient: bool = False

    @property
    def name(self) -> str:
        """The setting's name as it is written in a file: ``sqlite.busy_timeout``."""
        return ".".join(self.path)


#: Values by path.
Values: TypeAlias = dict[tuple[str, ...], Found]


def from_file(path: Path, fields: Collection[str]) -> Iterator[Found]:
    """What a TOML file says; nothing if there is no such file.

    Raises:
        ConfigError: the file cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    yield from _from_table(table, fields, str(path))


def from_mapping(
    table: Mapping[str, object], fields: Collection[str], word: str
) -> Iterator[Found]:
    """What keyword arguments or flags say; a value of None counts as not given."""
    given = {key: value for key, value in table.items() if value is not None}
    yield from _from_table(given, fields, word)


def from_variables(variables: Mapping[str, str | None], where: str) -> Iterator[Found]:
    """What variables with our prefix say, an empty one being the same as none.

    ``XQUEUE_REDIS__POOL=4`` is the key ``pool`` of the section ``redis``. What a container
    platform sets for a service of our name is passed over.
    """
    for variable, value in variables.items():
        if not variable.startswith(PREFIX) or not value:
            continue
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if len(path) == 1 and _is_platform(variable, value):
            continue
        yield Found(path, value, f"{where} {variable}", lenient=True)


def _is_platform(variable: str, value: str) -> bool:
    return bool(
        _PLATFORM_NAME.fullmatch(variable)
        or (variable.endswith("_PORT") and _PLATFORM_VALUE.match(value))
    )


def _from_table(
    table: Mapping[str, object], fields: Collection[str], origin: str
) -> Iterator[Found]:
    for key, value in table.items():
        # A section's tables are taken apart so that each key keeps its own origin.
        if key not in fields and isinstance(value, Mapping):
            yield Found((key,), {}, origin)
            yield from _leaves((key,), value, origin)
        else:
            yield Found((key,), value, origin)


def _leaves(path: tuple[str, ...], table: Mapping[str, object], origin: str) -> Iterator[Found]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves((*path, key), value, origin)
        else:
            yield Found((*path, key), value, origin)


def merged(found: Iterator[Found]) -> Values:
    """The last value of each path; a table and a plain value of one name exclude each other."""
    result: Values = {}
    for one in found:
        for other in [*result]:
            shorter, longer = sorted((other, one.path), key=len)
            # Only inside a section: its own name stands for the (maybe empty) table itself.
            if 1 < len(shorter) < len(longer) and longer[: len(shorter)] == shorter:
                del result[other]
        result[one.path] = one
    return result


def nested(found: Values) -> dict[str, dict[str, Any]]:
    """The values of all sections, as tables within tables."""
    sections: dict[str, dict[str, Any]] = {}
    for path, one in found.items():
        table = sections.setdefault(path[0], {})
        for key in path[1:-1]:
            table = table.setdefault(key, {})
        if len(path) > 1:
            table[path[-1]] = one.value
    return sections
