"""What a backend finds when it is examined: see :meth:`xqueue_core.abc.Backend.examine`."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How much a finding matters; its value is the verdict that ``xqueue doctor`` shows."""

    OK = "ok"
    WARNING = "note"  # it works, but somebody should know
    ERROR = "wrong"  # it does not work, or will lose tasks: exit code 1


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: what it was, in one or two words: ``file system``.
        level: how much it matters.
        detail: what was found, with the figures; of an error, what is wrong and where.
        advice: what to do about it; "" if there is nothing to do.
    """

    check: str
    level: Level
    detail: str
    advice: str = ""
