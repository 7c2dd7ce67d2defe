"""Cron expressions: cronsim reads them and matches days, zoneinfo knows the clocks.

Slots are worked out here, one UTC day at a time, so that forwards and backwards give the same
ones, from wherever one starts. Around a change of the clocks the rules are those of Debian's cron:

* A job at fixed times (no ``*`` leads its minute or hour, and its hours are not all of them)
  fires once for each of them and day: a time that the clocks skip fires as soon as they have, at
  once for all that were skipped; of a time that comes twice the first counts.
* Any other job follows the real hours: it fires whenever the clocks show a time that matches,
  so twice in an hour that comes twice, and never in one that is skipped.
"""

from __future__ import annotations

import difflib
import math
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from xqueue_core.errors import ConfigError

_DAY = 86_400
_MINUTE = timedelta(minutes=1)
_EPOCH = date(1970, 1, 1).toordinal()
#: Days that are searched for a slot: the 29th of February on a given weekday may be 40 years off.
_FAR = 50 * 366
#: Where the search for a first slot begins, to see whether there is any: the year 2000 (days).
_SOMEDAY = 10_957
#: Days that are remembered: a search looks at each of them several times.
_KEPT = 16

_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L or LW, and a day that the months have",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 (also with L behind it) or SUN to SAT, each also with #1 to #5",
}


class Cron:
    """The slots of a cron expression of five fields, by the clocks of a time zone.

    Raises:
        ConfigError: the expression is not one, or never matches; the time zone is unknown.
    """

    __slots__ = ("_days", "_fixed", "_hours", "_minutes", "_sim", "_zone", "text")

    def __init__(self, expression: str, tz: str = "UTC") -> None:
        self._sim = _parsed(expression)
        self._zone = _zone(tz)
        parts = expression.upper().split()
        self.text = f"cron {' '.join(parts)} {tz}"
        self._minutes, self._hours = sorted(self._sim.minutes), sorted(self._sim.hours)
        stars = parts[0].startswith("*") or parts[1].startswith("*")
        self._fixed = not stars and len(self._hours) < 24
        self._days: dict[int, tuple[int, ...]] = {}
        if self.next(float(_SOMEDAY * _DAY)) == math.inf:
            raise ConfigError(f"the cron expression {expression!r} never matches")

    def next(self, after: float) -> float:
        """The first slot after this moment; infinite if there is none within 50 years."""
        first = math.floor(after / _DAY)
        for day in range(first, first + _FAR):
            slots = self._utc_day(day)
            if slots and slots[-1] > after:
                return float(slots[bisect_right(slots, after)])
        return math.inf

    def latest(self, at: float) -> float:
        """The last slot at or before this moment; minus infinity if none within 50 years."""
        last = math.floor(at / _DAY)
        for day in range(last, last - _FAR, -1):
            slots = self._utc_day(day)
            if slots and slots[0] <= at:
                return float(slots[bisect_left(slots, math.nextafter(at, math.inf)) - 1])
        return -math.inf

    def _utc_day(self, day: int) -> tuple[int, ...]:
        """The slots of a day by UTC, in order. They belong to the days around it elsewhere."""
        begin = day * _DAY
        found = {
            slot
            for near in range(day - 2, day + 2)  # what a zone skips may be a whole day
            for slot in self._local_day(near)
            if begin <= slot < begin + _DAY
        }
        return tuple(sorted(found))

    def _local_day(self, day: int) -> tuple[int, ...]:
        """The slots that belong to a day by the clocks of the zone."""
        found = self._days.get(day)
        if found is None:
            if len(self._days) >= _KEPT:
                self._days.clear()
            found = self._days[day] = self._made(date.fromordinal(_EPOCH + day))
        return found

    def _made(self, day: date) -> tuple[int, ...]:
        if day.month not in self._sim.months or not self._sim.match_day(day):
            return ()
        offset = self._offset(day)
        if offset is not None:
            begin = (day.toordinal() - _EPOCH) * _DAY - offset
            return tuple(begin + h * 3600 + m * 60 for h in self._hours for m in self._minutes)
        if self._fixed:
            return tuple(self._shown(day, h, m) for h in self._hours for m in self._minutes)
        begin = (day.toordinal() - _EPOCH) * _DAY
        instants = range(begin - _DAY, begin + 2 * _DAY, 60)
        return tuple(one for one in instants if self._matches(one, day))

    def _offset(self, day: date) -> int | None:
        """How far ahead of UTC the zone is all day long (seconds); None if the clocks change."""
        noon = datetime.combine(day, time(12), self._zone)
        offsets = {(noon + timedelta(days=n)).utcoffset() for n in (-1, 0, 1)}
        return int(_sure(offsets.pop()).total_seconds()) if len(offsets) == 1 else None

    def _shown(self, day: date, hour: int, minute: int) -> int:
        """When the clocks show this time first, or have skipped it."""
        wanted = datetime.combine(day, time(hour, minute), self._zone)
        # An hour that is skipped exists on no clock: the first minute after it does.
        while (instant := wanted.astimezone(UTC)).astimezone(self._zone).replace(
            tzinfo=None
        ) != wanted.replace(tzinfo=None):
            wanted += _MINUTE
        return int(instant.timestamp())

    def _matches(self, instant: int, day: date) -> bool:
        shown = datetime.fromtimestamp(instant, self._zone)
        return (
            shown.date() == day
            and shown.hour in self._sim.hours
            and shown.minute in self._sim.minutes
        )


def _sure(offset: timedelta | None) -> timedelta:
    return offset or timedelta(0)


def _parsed(expression: object) -> CronSim:
    if not isinstance(expression, str):
        raise ConfigError(f"a cron expression is a text, not {expression!r}")
    parts = expression.split()
    if len(parts) != 5:
        raise ConfigError(
            f"a cron expression has five fields, minute, hour, day-of-month, month and "
            f"day-of-week; {expression!r} has {len(parts)}"
        )
    try:
        return CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    # Beside its own error it asserts; a bad expression must not show as anything else.
    except (CronSimError, AssertionError, ValueError, TypeError) as error:
        field = str(error).removeprefix("Bad ")
        where = list(_FIELDS).index(field) if field in _FIELDS else None
        what = str(error) or "it cannot be read"
        if where is not None:
            what = f"its {field} is {parts[where]!r}, not {_FIELDS[field]}"
        raise ConfigError(f"the cron expression {expression!r} is wrong: {what}") from error


def _zone(tz: object) -> ZoneInfo:
    if not isinstance(tz, str):
        raise ConfigError(f"`tz` is the name of a time zone, such as 'Europe/Berlin', not {tz!r}")
    try:
        return ZoneInfo(tz)
    except (KeyError, ValueError, OSError) as error:
        known = available_timezones()
        # An abbreviation that looks alike is another time, so only regions are suggested.
        near = difflib.get_close_matches(tz, [one for one in known if "/" in one], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; name a region, as 'Europe/Berlin'"
        if not known:
            hint = "; this machine knows no time zones at all: install the package tzdata"
        raise ConfigError(f"no time zone is named {tz!r}{hint}") from error
