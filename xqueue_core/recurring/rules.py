"""When a schedule fires: pure functions of time, the same in every worker."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Protocol

from xqueue_core.errors import ConfigError

#: Shortest and longest interval (seconds): a tenth of a second, ten years.
SHORTEST = 0.1
LONGEST = 10 * 365 * 86_400.0

_MICRO = 1_000_000


class Rule(Protocol):
    """A set of slots: moments, in UTC seconds since the epoch."""

    @property
    def text(self) -> str:
        """The rule in words that :func:`parse` reads: equal if and only if the rule is."""

    def next(self, after: float) -> float:
        """The first slot after this moment; infinite if there is none."""

    def latest(self, at: float) -> float:
        """The last slot at or before this moment; minus infinity if there is none."""


class Every:
    """A slot every ``interval`` seconds since the epoch, each ``offset`` seconds later.

    Aligned to the epoch, not to a start, so that all workers compute the same slots. Both are
    rounded to microseconds.

    Raises:
        ConfigError: the interval is not from 0.1 s to ten years, or the offset not from 0 to
            below the interval.
    """

    __slots__ = ("_interval", "_offset")

    def __init__(self, interval: float | timedelta, offset: float | timedelta = 0.0) -> None:
        seconds = _seconds("the interval of `every`", interval)
        if not SHORTEST <= seconds <= LONGEST:
            raise ConfigError(
                f"the interval of `every` must be {SHORTEST} to {LONGEST:.0f} seconds, "
                f"not {interval!r}"
            )
        shift = _seconds("the offset of `every`", offset)
        if not 0 <= shift < seconds:
            raise ConfigError(
                f"the offset of `every` must be 0 or more and below the interval of {seconds:g} "
                f"seconds, not {offset!r}"
            )
        self._interval = round(seconds * _MICRO)
        self._offset = round(shift * _MICRO)

    @property
    def text(self) -> str:
        """Such as ``every 60s`` or ``every 60s offset 5s``."""
        offset = f" offset {_text(self._offset)}" if self._offset else ""
        return f"every {_text(self._interval)}{offset}"

    def next(self, after: float) -> float:
        """The first slot after this moment."""
        number = self._number(after) - 1
        while (slot := self._slot(number)) <= after:
            number += 1
        return slot

    def latest(self, at: float) -> float:
        """The last slot at or before this moment."""
        number = self._number(at) + 1
        while (slot := self._slot(number)) > at:
            number -= 1
        return slot

    def _number(self, at: float) -> int:
        """The number of a slot near this moment: floats are not exact enough for the one."""
        return (round(at * _MICRO) - self._offset) // self._interval

    def _slot(self, number: int) -> float:
        return (self._offset + number * self._interval) / _MICRO


def newest(rule: Rule, after: float, until: float, most: int) -> list[float]:
    """The slots after ``after`` up to ``until``, in order; of more than ``most`` the last ones."""
    found: list[float] = []
    slot = rule.latest(until)
    while slot > after and len(found) < most:
        found.append(slot)
        slot = rule.latest(math.nextafter(slot, -math.inf))
    return found[::-1]


def parse(text: str) -> Rule:
    """The rule with this text. Raises ConfigError if it is none."""
    kind, _, rest = text.partition(" ")
    words = rest.split()
    if kind == "cron" and len(words) == 6:
        from xqueue_core.recurring.cron import Cron

        return Cron(" ".join(words[:5]), words[5])
    if kind == "every" and len(words) in (1, 3):
        try:
            numbers = [float(word.removesuffix("s")) for word in words[::2]]
        except ValueError:
            numbers = []
        if numbers:
            return Every(*numbers)
    raise ConfigError(f"{text!r} is no rule: write `every 60s` or `cron 0 9 * * * UTC`")


def _seconds(what: str, value: object) -> float:
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ConfigError(f"{what} must be seconds, as a number or timedelta, not {value!r}")
    return float(number) if math.isfinite(number) else math.nan


def _text(micros: int) -> str:
    return f"{micros / _MICRO:.6f}".rstrip("0").rstrip(".") + "s"
