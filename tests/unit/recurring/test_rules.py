"""When schedules fire."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xqueue_core.errors import ConfigError
from xqueue_core.recurring.cron import Cron
from xqueue_core.recurring.rules import Every, Rule, newest, parse

#: Zones that change their clocks by an hour at night, at midnight, by half an hour, by a whole
#: day, in winter's favour, and never.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Asia/Kathmandu",
)
#: When some of them do (UTC).
CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "America/Havana": ("2026-03-08T05:00", "2026-11-01T05:00"),
    "America/St_Johns": ("2009-03-08T03:31", "2009-11-01T02:31"),
    "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
    "Pacific/Apia": ("2011-12-30T10:00", "2012-03-31T14:00"),
    "Africa/Casablanca": ("2026-02-15T02:00", "2026-03-22T02:00"),
}
moments = st.floats(min_value=5e8, max_value=2.5e9)  # 1985 to 2049


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, high).map(lambda n: f"*/{n}")
    return st.one_of(
        st.just("*"), step, st.lists(st.one_of(number.map(str), span), min_size=1).map(",".join)
    )


crons = st.builds(
    lambda *parts: " ".join(parts),
    _field(0, 59),
    _field(0, 23),
    st.one_of(st.just("*"), _field(1, 28), st.just("L"), st.just("LW")),
    _field(1, 12),
    st.one_of(st.just("*"), _field(0, 6), st.just("5L"), st.just("2#1")),
)
intervals = st.integers(100, 40_000_000).map(lambda ms: ms / 1000)
everys = st.builds(
    lambda interval, share: Every(interval, round(interval * share, 6)),
    intervals,
    st.floats(0, 0.99),
)


@st.composite
def cron_rules(draw: st.DrawFn) -> tuple[Rule, float]:
    """A rule that fires at some time, and a moment: half of them near a change of the clocks."""
    tz = draw(st.sampled_from(ZONES))
    try:
        rule = Cron(draw(crons), tz)
    except ConfigError as error:  # such as the last weekday of a month, if a Saturday
        assume("never matches" not in str(error))
        raise
    if tz in CHANGES and draw(st.booleans()):
        change = datetime.fromisoformat(draw(st.sampled_from(CHANGES[tz]))).replace(tzinfo=UTC)
        return rule, change.timestamp() + draw(st.floats(-90_000, 90_000))
    return rule, draw(moments)


rules: st.SearchStrategy[tuple[Rule, float]] = st.one_of(
    st.tuples(everys, moments), cron_rules(), cron_rules()
)


def slots(rule: Rule, after: float, count: int) -> list[float]:
    """The next slots."""
    found: list[float] = []
    for _ in range(count):
        after = rule.next(after)
        found.append(after)
    return found


def local(text: str, tz: str, start: str, count: int) -> list[str]:
    """The next slots after a local time, as the clocks of the zone show them."""
    zone = ZoneInfo(tz)
    after = datetime.fromisoformat(start).replace(tzinfo=zone).timestamp()
    shown = (datetime.fromtimestamp(slot, zone) for slot in slots(Cron(text, tz), after, count))
    return [one.strftime("%m-%d %H:%M%z") for one in shown]


# -- what holds for every rule ---------------------------------------------------------------


@settings(max_examples=300)
@given(rules)
def test_slots_strictly_increase(timed: tuple[Rule, float]) -> None:
    rule, after = timed
    found = slots(rule, after, 5)
    assert found[0] > after
    assert all(a < b for a, b in pairwise(found))


@settings(max_examples=300)
@given(rules)
def test_no_slot_lies_between_two_that_follow_each_other(timed: tuple[Rule, float]) -> None:
    rule, after = timed
    a, b = slots(rule, after, 2)
    assert rule.next((a + b) / 2) == b
    assert rule.next(math.nextafter(a, 0.0)) == a
    assert rule.next(math.nextafter(b, 0.0)) == b


@settings(max_examples=300)
@given(rules)
def test_backwards_gives_what_forwards_gave(timed: tuple[Rule, float]) -> None:
    rule, after = timed
    found = slots(rule, after, 4)
    for a, b in pairwise(found):
        assert rule.latest(b) == b
        assert rule.latest(math.nextafter(b, 0.0)) == a
    assert rule.latest(found[0]) == found[0]
    assert rule.latest(after) <= after


@settings(max_examples=300)
@given(rules, st.floats(0, 1))
def test_a_window_that_is_split_has_the_same_slots(timed: tuple[Rule, float], share: float) -> None:
    rule, begin = timed
    found = slots(rule, begin, 6)
    end = found[-1]
    middle = begin + (end - begin) * share
    whole = newest(rule, begin, end, 100)
    assert whole == found
    assert newest(rule, begin, middle, 100) + newest(rule, middle, end, 100) == whole
    assert newest(rule, begin, end, 3) == whole[-3:]


@given(rules)
def test_a_rules_text_makes_the_same_rule(timed: tuple[Rule, float]) -> None:
    rule, after = timed
    again = parse(rule.text)
    assert again.text == rule.text
    assert again.next(after) == rule.next(after)


@given(crons, st.sampled_from(("UTC", "Asia/Kathmandu", "America/Phoenix")), moments)
def test_where_clocks_never_change_it_is_what_cronsim_says(
    text: str, tz: str, after: float
) -> None:
    zone = ZoneInfo(tz)
    theirs = islice(CronSim(text, datetime.fromtimestamp(after, zone)), 4)
    wanted = [one.timestamp() for one in theirs]
    assume(len(wanted) == 4)
    assert slots(Cron(text, tz), after, 4) == wanted


# -- every -----------------------------------------------------------------------------------


def test_every_is_aligned_to_the_epoch() -> None:
    assert slots(Every(60), 1_700_000_001.5, 2) == [1_700_000_040.0, 1_700_000_100.0]
    assert slots(Every(timedelta(minutes=1), offset=5), 100.0, 2) == [125.0, 185.0]
    assert slots(Every(0.1), 1_700_000_000.0, 3)[-1] == 1_700_000_000.3
    assert Every(7, 3).latest(3.0) == 3.0


@pytest.mark.parametrize("bad", [0, 0.05, -1, 4e8, math.nan, math.inf, "60", None, True])
def test_intervals_out_of_range_are_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match="interval of `every`"):
        Every(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [60, -1, math.nan, "1", timedelta(minutes=1)])
def test_offsets_out_of_range_are_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match="offset of `every`"):
        Every(60, bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["", "every", "every x", "every 1s 2s", "cron * *", "at noon"])
def test_texts_that_are_no_rule_are_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="no rule"):
        parse(bad)


# -- cron, and the days on which clocks change -------------------------------------------------


def test_a_time_that_is_skipped_fires_once_the_clocks_have_skipped_it() -> None:
    assert local("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == [
        "03-29 03:00+0200",
        "03-30 02:30+0200",
    ]
    assert local("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == [
        "03-29 03:00+0200",
        "03-30 02:00+0200",
    ]
    assert local("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == [
        "03-29 03:00+0200",
        "03-30 02:00+0200",
    ]


def test_of_a_time_that_comes_twice_the_first_fires() -> None:
    assert local("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == [
        "10-25 02:30+0200",
        "10-26 02:30+0100",
    ]


def test_an_hourly_job_fires_each_real_hour() -> None:
    assert local("0 * * * *", "Europe/Berlin", "2026-03-29T00:30", 3) == [
        "03-29 01:00+0100",
        "03-29 03:00+0200",
        "03-29 04:00+0200",
    ]
    for text in ("0 * * * *", "0 0-23 * * *", "0 */1 * * *"):
        assert local(text, "Europe/Berlin", "2026-10-25T01:30", 3) == [
            "10-25 02:00+0200",
            "10-25 02:00+0100",
            "10-25 03:00+0100",
        ]


def test_an_hourly_job_never_pauses_for_more_than_an_hour() -> None:
    for tz in ("Europe/Berlin", "America/Havana", "America/St_Johns"):
        found = slots(Cron("0 * * * *", tz), datetime(2009, 1, 1, tzinfo=UTC).timestamp(), 9000)
        assert {b - a for a, b in pairwise(found)} == {3600.0}


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("text", ["30 2 * * *", "0 0 * * *", "45 1 * * *", "5 23 * * *"])
def test_a_daily_job_fires_once_for_each_day(tz: str, text: str) -> None:
    zone = ZoneInfo(tz)
    begin = datetime(2010, 1, 1, tzinfo=zone).timestamp()
    end = datetime(2013, 1, 1, tzinfo=zone).timestamp()
    found = newest(Cron(text, tz), begin - 1, end - 1, 5000)
    days = {datetime.fromtimestamp(slot, zone).date() for slot in found}
    # A day that a zone skips (the 30th of December 2011 in Samoa) fires as the next one begins.
    skipped = 1 if tz == "Pacific/Apia" else 0
    assert len(days) == 365 + 365 + 366 - skipped
    assert len(found) == len(days) + (skipped if text != "0 0 * * *" else 0)


def test_a_change_of_half_an_hour() -> None:
    assert local("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 2) == [
        "10-04 02:30+1100",
        "10-05 02:15+1100",
    ]
    assert local("*/30 5 * * *", "Australia/Lord_Howe", "2026-10-04T00:00", 2) == [
        "10-04 05:00+1100",
        "10-04 05:30+1100",
    ]


def test_leap_days_last_days_and_the_turn_of_the_year() -> None:
    found = slots(Cron("0 0 29 2 *"), datetime(2096, 1, 1, tzinfo=UTC).timestamp(), 2)
    assert [datetime.fromtimestamp(one, UTC).year for one in found] == [2096, 2104]
    assert local("0 12 L * *", "UTC", "2027-12-30T00:00", 4) == [
        "12-31 12:00+0000",
        "01-31 12:00+0000",
        "02-29 12:00+0000",
        "03-31 12:00+0000",
    ]
    assert local("*/1 * * * *", "Europe/Berlin", "2026-12-31T23:58", 2) == [
        "12-31 23:59+0100",
        "01-01 00:00+0100",
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0 25 * * *", "its hour is '25', not 0 to 23"),
        ("60 * * * *", "its minute is '60'"),
        ("0 0 30 2 *", "its day-of-month is '30'.*that the months have"),
        ("0 0 1 foo *", "its month is 'foo'"),
        ("0 0 * * 9", "its day-of-week is '9'"),
        ("*/0 * * * *", "its minute is"),
        ("", "has 0"),
        ("* * * *", "five fields.*has 4"),
        ("0 * * * * *", "has 6"),
        (60, "is a text, not 60"),
    ],
)
def test_a_bad_expression_says_what_and_where(text: object, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Cron(text)  # type: ignore[arg-type]


@given(st.one_of(st.text(), st.text("0123456789*/,-#LW ", max_size=30)))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    for given_text in (text, f"{text} * * * *", f"* * * * {text}"):
        try:
            rule = Cron(given_text)
        except ConfigError:
            continue
        assert rule.next(1.7e9) > 1.7e9


@pytest.mark.parametrize("tz", ["Europe/Berln", "", "../etc/passwd", "Europe", "\0", 1, None])
def test_an_unknown_time_zone_is_refused(tz: object) -> None:
    with pytest.raises(ConfigError, match="time zone"):
        Cron("* * * * *", tz)  # type: ignore[arg-type]


def test_the_nearest_time_zone_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'Europe/Berlin'"):
        Cron("* * * * *", "Europe/Berln")


@pytest.mark.parametrize(
    ("tz", "words"),
    [("CEST", "'CEST'; name a region, as 'Europe/Berlin'"), ("Europe/Berln", "mean 'Europe/Berl")],
)
def test_an_unknown_zone_is_told_of_regions_alone(tz: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Cron("* * * * *", tz)
