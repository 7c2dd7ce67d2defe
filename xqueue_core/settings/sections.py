"""A backend's own settings: what its URL says, then what its section says."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar, get_args
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from xqueue_core.errors import ConfigError, UnknownSetting
from xqueue_core.settings import sources
from xqueue_core.settings.model import Settings
from xqueue_core.settings.problems import Known, config_error, masked, nearest
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
    relative after three slashes and absolute after four; and every key of the query by its own
    name. The URL wins over the section: it is about this one broker.

    Args:
        settings: the app's settings.
        url: the one of its URLs that names this backend.
        model: the backend's pydantic model.
        section: name of its section; by default the backend's name.

    Raises:
        UnknownSetting: a key of the query or the section is not known.
        ConfigError: a value has the wrong form, or the URL says what the backend cannot take.

    Warns:
        SettingsWarning: an environment variable of the section is not known; it is ignored.
    """
    name = (section or backend_name(url)).replace("-", "_")
    from_url = _from_url(url, name, set(_keys(model)))
    found = sources.merged(iter([*settings.found(name).values(), *from_url]))
    found = _known(found, model)
    data = sources.nested(found).get(name, {})
    return _validated(model, data, name, found)


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
    said: dict[str, object] = {}
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


def _keys(model: type[BaseModel]) -> Mapping[str, Any]:
    """Field by each name it may be given: its own, and its alias if that is one word."""
    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        keys[name] = field
        if isinstance(field.alias, str):
            keys[field.alias] = field
    return keys


def _known(found: sources.Values, model: type[BaseModel]) -> sources.Values:
    """What the model has a field for; the rest is an error, or from the environment a warning."""
    known, errors = {}, []
    for path, one in found.items():
        wrong = _unknown_key(path[1:], model)
        if wrong is None:
            known[path] = one
            continue
        key, near = wrong
        if one.lenient:
            hint = f"; did you mean {near.upper()} for {key.upper()}?" if near else ""
            text = f"{one.origin} is not a setting of {path[0]!r} and is ignored{hint}"
            warnings.warn(text, SettingsWarning, stacklevel=3)
        else:
            hint = f"; did you mean {near!r}?" if near else ""
            errors.append(f"unknown setting {one.name!r} ({one.origin}){hint}")
    if errors:
        raise UnknownSetting("; ".join(errors))
    return known


def _unknown_key(path: tuple[str, ...], model: type[BaseModel]) -> tuple[str, str | None] | None:
    """The first key that the model has no field for, and the nearest; None if all are known."""
    at: Any = model
    for key in path:
        keys = _keys(at)
        if key not in keys:
            return key, nearest(key, keys)
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
    field = _keys(model).get(path[0]) if path else None
    return Known(
        name=".".join((name, *path)),
        origin=one.origin if one else f"section {name!r}",
        allowed=(field.description or "") if field else "",
        secret=field is not None and _holds_secret(field.annotation),
    )


def _holds_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, SecretStr | SecretBytes):
        return True
    return any(_holds_secret(part) for part in get_args(annotation))
