"""A backend's own settings: what its URL says, and what its section says."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, ValidationError

from xqueue_core.errors import ConfigError, UnknownSetting
from xqueue_core.settings import sources
from xqueue_core.settings.model import Settings
from xqueue_core.settings.places import check_places
from xqueue_core.settings.problems import Known, config_error, masked, nearest
from xqueue_core.settings.secrets import holds_secret, model_keys
from xqueue_core.settings.sources import Found, SettingsWarning

M = TypeVar("M", bound=BaseModel)

#: pydantic's complaints about a text where a list, or a table, is wanted.
_WANTS_LIST: Final = {"list_type", "tuple_type", "set_type", "frozen_set_type"}
_WANTS_TABLE: Final = {"dict_type", "mapping_type", "model_type", "model_attributes_type"}


def backend_name(url: str) -> str:
    """The backend's name in a URL: its scheme, without what follows a ``+``."""
    return url.partition("://")[0].partition("+")[0].lower()


def backend_settings(
    settings: Settings, url: str, model: type[M], *, section: str | None = None
) -> M:
    """A backend's own settings, from a URL and from the section of its name.

    A model takes from the URL what it has a field for: ``host`` and ``port``, or ``hosts`` (each
    ``host:port``) where there may be several; ``username``, ``password``; ``path``, which is
    relative after three slashes and absolute after four; ``scheme``; and every key of the query
    by its own name. Where the broker is, ``scheme``, ``host``, ``port``, ``hosts`` and ``path``,
    can be said by the URL alone; of the rest the URL wins over the section: it is about this one
    broker.

    A backend of several names, such as ``redis`` and ``rediss``, has one section for all of
    them if its model names it: ``section: ClassVar[str] = "redis"``.

    Args:
        settings: the app's settings.
        url: the one of its URLs that names this backend; ``""`` for a plugin, which has none.
        model: the backend's pydantic model.
        section: name of its section; by default the model's, or else the backend's name.

    Raises:
        UnknownSetting: a key of the query or the section is not known.
        ConfigError: a value has the wrong form, the URL says what the backend cannot take, or the
            section says where the broker is; that names the URL to write.

    Warns:
        SettingsWarning: an environment variable of the section is not known; it is ignored.
    """
    name = section_name(url, model) if section is None else section.replace("-", "_")
    if section is None:
        _check_section(settings, backend_name(url), name)
    found = _known(said(settings, url, model, name), model)
    if url:
        check_places(settings, url, name, model_keys(model))
    data = sources.nested(found).get(name, {})
    return _validated(model, data, name, found)


def section_name(url: str, model: type[BaseModel]) -> str:
    """The section of the backend behind a URL: the one its model names, or that of its name."""
    named: str | None = getattr(model, "section", None)
    return (named or backend_name(url)).replace("-", "_")


def _check_section(settings: Settings, backend: str, section: str) -> None:
    """Raise ConfigError if something is said in the section of the backend's other name."""
    other = backend.replace("-", "_")
    found = [one for one in settings.found(other).values() if len(one.path) > 1]
    if other != section and found:
        origin = found[0].origin
        raise ConfigError(
            f"section {other!r} ({origin}): the settings of {backend}:// stand in the section "
            f"[{section}], or in variables {sources.PREFIX}{section.upper()}__..."
        )


def said(settings: Settings, url: str, model: type[BaseModel], section: str) -> sources.Values:
    """What URL and section say, each value with its origin. Raises as :func:`backend_settings`."""
    from_url = _from_url(url, section, set(model_keys(model)))
    return sources.merged(iter([*settings.found(section).values(), *from_url]))


# -- the URL ---------------------------------------------------------------------------------


def _from_url(url: str, section: str, keys: set[str]) -> Iterator[Found]:
    origin = f"URL {masked(url)}"
    scheme, _, rest = url.partition("://")
    rest, hash_, _ = rest.partition("#")
    if hash_:
        raise ConfigError(f"{origin}: write # as %23")
    rest, _, query = rest.partition("?")
    place, slash, path = rest.partition("/")
    user, _, hosts = place.rpartition("@")
    said: dict[str, object] = {"scheme": scheme.lower()} if "scheme" in keys else {}
    if user:
        username, colon, password = user.partition(":")
        said.update({"username": unquote(username)} if username else {})
        said.update({"password": unquote(password)} if colon else {})
    if hosts:
        said.update(_hosts(hosts, origin, keys))
    if path:
        said["path"] = unquote(path)
    for part in sorted(said.keys() - keys):
        hint = f"; did you mean {scheme}:///{hosts}?" if part == "host" and not slash else ""
        raise ConfigError(f"{origin}: the backend {section!r} takes no {part} in its URL{hint}")
    said.update(_query(query, origin, keys))
    for key, value in said.items():
        yield Found((section, key), value, origin)


def _hosts(text: str, origin: str, keys: set[str]) -> dict[str, object]:
    if "hosts" in keys:
        return {"hosts": [unquote(host) for host in text.split(",")]}
    # The port stands behind the last colon, unless that is within an IPv6 address.
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, ""
    if port and not (port.isascii() and port.isdigit()):
        raise ConfigError(f"{origin}: the port must be a number")
    said: dict[str, object] = {"host": unquote(host).strip("[]")} if host else {}
    return {**said, "port": int(port)} if port else said


def _query(query: str, origin: str, keys: set[str]) -> dict[str, object]:
    said: dict[str, object] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in keys:
            near = nearest(key, keys)
            hint = f"; did you mean {near!r}?" if near else ""
            raise UnknownSetting(f"{origin}: unknown key {key!r}{hint}")
        if key in said:
            raise ConfigError(f"{origin}: the key {key!r} is given twice")
        said[key] = value
    return said


# -- the section -----------------------------------------------------------------------------


def _known(found: sources.Values, model: type[BaseModel]) -> sources.Values:
    """What the model has a field for; the rest is an error, or from the environment a warning."""
    known, errors = {}, []
    for path, one in found.items():
        near = _near(path, model)
        if near is None:
            known[path] = one
            continue
        if one.lenient:
            hint = f"; did you mean {_variable(near)}?" if near else ""
            text = f"{one.origin} is not a setting of {path[0]!r} and is ignored{hint}"
            warnings.warn(text, SettingsWarning, stacklevel=3)
        else:
            hint = f"; did you mean {near[-1]!r}?" if near else ""
            errors.append(f"unknown setting {one.name!r} ({one.origin}){hint}")
    if errors:
        raise UnknownSetting("; ".join(errors))
    return known


def _variable(path: tuple[str, ...]) -> str:
    return sources.PREFIX + "__".join(path).upper()


def _near(path: tuple[str, ...], model: type[BaseModel]) -> tuple[str, ...] | None:
    """The path most probably meant where the model has no field for this; ``()`` if there is no
    such, None if it has a field. The path begins with the section."""
    at: Any = model
    for place, key in enumerate(path[1:], 1):
        keys = model_keys(at)
        if key not in keys:
            near = nearest(key, keys)
            return (*path[:place], near) if near else ()
        at = keys[key].annotation
        if not (isinstance(at, type) and issubclass(at, BaseModel)):
            return None
    return None


# -- validation ------------------------------------------------------------------------------


def _validated(model: type[M], data: dict[str, Any], name: str, found: sources.Values) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problem = error
    # Environment and URL hold only text; what should be a list or a table is read as such.
    decoded = dict(data)
    for item in problem.errors(include_url=False):
        if len(item["loc"]) == 1 and isinstance(item["input"], str):
            key = str(item["loc"][0])
            decoded[key] = _decoded(item["input"], item["type"])
    try:
        return model.model_validate(decoded)
    except ValidationError as error:
        problem = error
    # Raised out here so that pydantic's error, which holds the values, is not its context.
    raise config_error(problem, lambda path: _known_key(path, model, name, found))


def _decoded(text: str, complaint: str) -> object:
    wanted = list if complaint in _WANTS_LIST else dict
    if complaint not in _WANTS_LIST | _WANTS_TABLE:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, wanted):
        return value
    return [item.strip() for item in text.split(",")] if wanted is list else text


def _known_key(
    path: tuple[str, ...], model: type[BaseModel], name: str, found: sources.Values
) -> Known:
    one = next(
        (found[p] for n in range(len(path), 0, -1) if (p := (name, *path[:n])) in found), None
    )
    field = model_keys(model).get(path[0]) if path else None
    origins = ", ".join(dict.fromkeys(one.origin for at, one in found.items() if len(at) > 1))
    return Known(
        name=".".join((name, *path)),
        origin=one.origin if one else (not path and origins) or f"section {name!r}",
        allowed=(field.description or "") if field else "",
        secret=field is not None and holds_secret(field.annotation),
    )
