"""Single values as commands show them: times, durations, payloads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from xqueue_core.cli.output import printable

#: Bytes of a payload that is no text which are shown.
SHOWN = 32


def iso(seconds: float | None) -> str | None:
    """A moment (UTC seconds) as ISO 8601 with milliseconds; None for 0, which is no moment."""
    if not seconds:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError):  # beyond the year 9999
        moment = datetime.max.replace(tzinfo=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(seconds: float | None) -> str:
    """A duration for people: ``0.4 s``, ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def content(data: bytes | None) -> Any:
    """A payload or result: decoded where it is JSON, else as text; other bytes as hex digits.

    What is no text becomes ``{"hex": ..., "bytes": ...}``: the first 32 bytes, and how many there
    are in all.
    """
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"hex": data[:SHOWN].hex(), "bytes": len(data)}
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return text


def compact(value: object, most: int = 0) -> str:
    """A JSON value on one printable line, cut to ``most`` characters if that is not 0."""
    text = printable(json.dumps(value, ensure_ascii=False))
    return f"{text[: most - 3]}..." if 0 < most < len(text) else text


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
