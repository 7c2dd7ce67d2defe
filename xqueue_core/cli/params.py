"""Types of options: durations, moments."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
    _Datetime = click.ParamType[datetime]
else:  # earlier releases of click have no such brackets
    _Seconds = _Datetime = click.ParamType

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|[smhd])")


class Duration(_Seconds):
    """Seconds, or with units: ``90``, ``1.5``, ``500ms``, ``10m``, ``1h30m``, ``2d``.

    Args:
        least, most: its range (seconds).
    """

    name = "duration"

    def __init__(self, least: float = 0.0, most: float = math.inf) -> None:
        self._least = least
        self._most = most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The duration in seconds."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        try:
            seconds = float(text)
        except ValueError:
            parts = _PART.findall(text)
            if not parts or _PART.sub("", text).strip():
                self.fail(f"{text!r} is no duration, such as 90, 10m or 1h30m", param, ctx)
            seconds = math.fsum(float(number) * _UNITS[unit] for number, unit in parts)
        if not math.isfinite(seconds) or seconds < 0:
            self.fail(f"{text!r} is no duration: it is 0 or more seconds", param, ctx)
        if not self._least <= seconds <= self._most:
            self.fail(f"{text!r} is not {self._least:g} to {self._most:g} seconds", param, ctx)
        return seconds


class Moment(_Datetime):
    """A date and time by ISO 8601 with a time zone: ``2030-01-31T09:00:00Z``."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The moment, with its time zone."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time, such as 2030-01-31T09:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone: add Z for UTC, or +01:00", param, ctx)
        return moment


DURATION = Duration()
MOMENT = Moment()
