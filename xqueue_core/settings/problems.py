"""How settings are shown and how mistakes in them are told: never with a secret in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from xqueue_core.errors import ConfigError, UnknownSetting

_SECRET = re.compile(r"pass(?:word|wd|phrase)?|secret|token|credential|(?:^|_)key$", re.IGNORECASE)
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
    """A URL without its secrets; any other text as it is.

    All before the last ``@`` counts as user and password, also where a character in it should
    have been escaped and was not: hiding too much is the safe mistake.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    user, at, place = rest.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:***"
    return _QUERY_ITEM.sub(_masked_item, f"{scheme}://{user}{at}{place}")


def _masked_item(item: re.Match[str]) -> str:
    return f"{item[1]}{item[2]}=***" if _SECRET.search(item[2]) else item[0]


class Known(NamedTuple):
    """What is known of a setting that has a wrong value."""

    name: str
    origin: str
    #: What is allowed, in words; "" where the complaint itself says it.
    allowed: str = ""
    secret: bool = False


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
        given = "" if item["type"] == "missing" else f" = {value}"
        complaint = item["msg"].removeprefix("Value error, ")
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
