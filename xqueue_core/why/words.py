"""Numbers, times and names as the sentences of a reason say them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from xqueue_core.task import Failure

#: Most names that a sentence lists.
LISTED = 5
#: Longest message of a failure that a sentence quotes (characters).
QUOTED = 200

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(seconds: float) -> str:
    """A duration in its two largest units: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 d 1 h``."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}".removesuffix(".0") + " s"
    left = round(seconds)
    for n, (size, unit) in enumerate(_UNITS):
        if left >= size:
            whole, rest = divmod(left, size)
            if n + 1 == len(_UNITS) or not (small := rest // _UNITS[n + 1][0]):
                return f"{whole} {unit}"
            return f"{whole} {unit} {small} {_UNITS[n + 1][1]}"
    return "0 s"


def moment(at: float) -> str:
    """A time of the broker's clock: ``2026-11-29 09:58:00 UTC``."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{at:.0f} s after 1970"


def many(count: int, noun: str) -> str:
    """So many of them: ``1 worker``, ``3 workers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Iterable[str]) -> str:
    """Some of these names: ``a, b and 3 more``."""
    found = list(names)
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return ", ".join(found[:LISTED]) + more


def nearest(name: str, known: Collection[str]) -> list[str]:
    """Names that look like this one, the most similar first."""
    alike = difflib.get_close_matches(name, sorted(set(known) - {name}), n=3, cutoff=0.6)
    folded = [one for one in sorted(known) if one != name and one.casefold() == name.casefold()]
    return list(dict.fromkeys([*folded, *alike]))


def failed(failure: Failure | None) -> str:
    """A failure in a few words: ``KeyError: 'k'``; "" if there is none."""
    if failure is None:
        return ""
    type_ = failure.type.removeprefix("builtins.") if failure.reason == "exception" else ""
    text = ": ".join(part for part in (type_, failure.message) if part) or failure.reason
    line = " ".join(text.split())
    return line if len(line) <= QUOTED else f"{line[:QUOTED]}..."
