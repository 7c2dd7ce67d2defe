"""How settings are shown and how mistakes in them are told: never with a secret in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from xqueue_core.errors import ConfigError, UnknownSetting

_SECRET = re.compile(
    r"pass(?:word|wd|phrase)?|secret|token|credential|jaas|(?:^|_)(?:pwd|auth|sig|signature|dsn)$"
    r"|(?:^|_|api|access)key$",
    re.IGNORECASE,
)
#: The part of a URL behind its scheme that names hosts.
_HOSTS = re.compile(r"^[^/?#]*")
#: A host without a port, with one, or an IPv6 address.
_PORT = re.compile(r"^[^:]*(?::\d*)?$|\](?::\d*)?$")
_QUERY_ITEM = re.compile(r"([?&])([^=&#]*)=[^&#]*")


def nearest(name: str, names: Collection[str]) -> str | None:
    """The name most like this one, if any is."""
    spelled = name.lower().replace("-", "_")
    return next(iter(difflib.get_close_matches(spelled, sorted(names), n=1)), None)


def shown(name: str, value: object) -> str:
    """A setting's value for people: secrets as ``***``, anything but a plain value as its type."""
    if value is None:
        return "none"
    if _SECRET.search(name.rpartition(".")[2]):
        return "***"
    if isinstance(value, str):
        return repr(masked(value))
    if isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(name, item) for item in value)}]"
    return f"a {type(value).__name__}"


def masked(text: str) -> str:
    """A URL without its secrets, also one with a mistake in it; any other text as it is.

    All before the last ``@`` counts as user and password, also where a character in it should
    have been escaped and was not, and so does what stands where a port should: hiding too much
    is the safe mistake.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    user, at, place = rest.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        rest = f"{name}{':***' if colon else ''}@{place}"
    elif separator:
        rest = _HOSTS.sub(lambda hosts: _masked_ports(hosts[0]), rest, count=1)
    return _QUERY_ITEM.sub(_masked_item, f"{scheme}{separator}{rest}")


def _masked_ports(hosts: str) -> str:
    return ",".join(
        host if _PORT.search(host) else f"{host.partition(':')[0]}:***" for host in hosts.split(",")
    )


def _masked_item(item: re.Match[str]) -> str:
    return f"{item[1]}{item[2]}=***" if _SECRET.search(item[2]) else item[0]


class Known(NamedTuple):
    """What is known of a setting that has a wrong value."""

    name: str
    origin: str
    #: What is allowed, in words; "" where the complaint itself says it.
    allowed: str = ""
    secret: bool = False


#: What is wrong, in our words, by pydantic's name for it; `{}` names what it adds.
_COMPLAINTS: Final = {
    "string_pattern_mismatch": "it has not the form that is wanted",
    "string_type": "it must be a text",
    "string_too_short": "it must have at least {min_length} characters",
    "string_too_long": "it must have at most {max_length} characters",
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "finite_number": "it must be finite",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "literal_error": "it must be {expected}",
    "greater_than": "it must be above {gt}",
    "greater_than_equal": "it must be {ge} or more",
    "less_than": "it must be below {lt}",
    "less_than_equal": "it must be {le} or less",
    "tuple_type": "it must be a list",
    "list_type": "it must be a list",
    "dict_type": "it must be a table",
    "missing": "it is missing",
}


def _complaint(item: ErrorDetails) -> str:
    named = {
        name: f"{one:.15g}" if isinstance(one, float) else one
        for name, one in item.get("ctx", {}).items()
    }
    try:
        return _COMPLAINTS[item["type"]].format_map(named)
    except KeyError:  # a validator's own words
        return item["msg"].removeprefix("Value error, ")


def config_error(error: ValidationError, known: Callable[[tuple[str, ...]], Known]) -> ConfigError:
    """The error a user reads: each setting, its value, where it came from, what is allowed.

    Its cause is pydantic's error with the values left out, because a value may be a secret.

    Args:
        error: what pydantic raised.
        known: tells what is known of the setting at a location.
    """
    lines = []
    unknown = True
    for item in error.errors(include_url=False):
        where = known(tuple(str(part) for part in item["loc"]))
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown setting {where.name!r} ({where.origin})")
            continue
        unknown = False
        value = "***" if where.secret else shown(where.name, item["input"])
        # Of what is wrong with several settings together, the value would be all of them.
        given = "" if item["type"] == "missing" or not item["loc"] else f" = {value}"
        complaint = _complaint(item)
        allowed = f" ({where.allowed})" if where.allowed else ""
        lines.append(f"{where.name}{given} ({where.origin}): {complaint}{allowed}")
    kind = UnknownSetting if unknown else ConfigError
    result = kind("; ".join(lines))
    result.__cause__ = _without_values(error)
    return result


def _without_values(error: ValidationError) -> ValidationError:
    details = [
        InitErrorDetails(
            type=PydanticCustomError(item["type"], "{text}", {"text": item["msg"]}),
            loc=item["loc"],
            input=None,
        )
        for item in error.errors(include_url=False, include_input=False)
    ]
    return ValidationError.from_exception_data(error.title, details, hide_input=True)
