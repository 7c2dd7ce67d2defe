"""Which versions run here."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

#: What XQueue is built on.
LIBRARIES = ("anyio", "click", "msgspec", "pydantic", "pydantic-settings", "rich", "stevedore")


def xqueue_version() -> str:
    """The version of the installed distribution."""
    return _of("xqueue-core") or "from source"


def versions() -> dict[str, str | None]:
    """Versions by name: XQueue, Python, and the libraries; None for one that is not installed."""
    known = {name: _of(name) for name in (*LIBRARIES, "uvloop", "trio")}
    return {"xqueue-core": xqueue_version(), "python": platform.python_version(), **known}


def _of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
