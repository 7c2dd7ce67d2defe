"""``--url``, and what was probably meant where it is no URL."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import click

from xqueue_core.errors import ConfigError

T = TypeVar("T")

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_FILE = re.compile(r"(?:sqlite:)?(?P<path>/{0,4}[^\s:@?#]*)")


def url_option(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--url``."""
    return click.option("--url", callback=_checked, help="The broker: `scheme://...`.")(command)


def _checked(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        check_url("--url", value)
    return value


def check_url(what: str, value: str) -> None:
    """Raise ConfigError, which says what was probably meant, if this is no URL."""
    if _URL.match(value):
        return
    file = _FILE.fullmatch(value)
    if file is not None and file["path"] and file["path"].lower() not in _schemes():
        path = file["path"]
        if path.startswith("/"):  # how many there are says nothing
            path = f"/{path.lstrip('/')}"
        raise ConfigError(
            f"{what} {value!r} is no URL: a file of SQLite is sqlite:///{path}"
            + ("" if path.startswith("/") else " (below the working folder)")
        )
    shown = repr(value) if "@" not in value else "what was given"  # it may hold a password
    raise ConfigError(
        f"{what}: {shown} is no URL, which begins with `scheme://` "
        f"(installed: {', '.join(sorted(_schemes()))})"
    )


def _schemes() -> set[str]:
    from xqueue_core.plugins import BACKENDS, list_plugins

    return {info.name for info in list_plugins(BACKENDS)}
