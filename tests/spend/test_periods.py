"""Periods: midnight is where the user is, and a day is not always 24 hours."""

from datetime import UTC, datetime, timedelta

import pytest

from turnout.errors import ConfigError
from turnout.spend.periods import EVER, Period, parse_period, parse_zone


def at(*when):
    return datetime(*when, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "now", "start", "end"),
    [
        ("day", at(2026, 11, 25, 15, 30), at(2026, 11, 25), at(2026, 11, 26)),
        ("week", at(2026, 11, 25, 15, 30), at(2026, 11, 23), at(2026, 11, 30)),
        ("month", at(2026, 12, 31, 23, 59), at(2026, 12, 1), at(2027, 1, 1)),
        ("month", at(2028, 2, 29), at(2028, 2, 1), at(2028, 3, 1)),
    ],
)
def test_calendar_periods_in_utc(period, now, start, end):
    assert parse_period(period).bounds(now) == (start, end)


def test_a_day_begins_at_midnight_where_the_budget_lives():
    kathmandu = parse_period("day", "Asia/Kathmandu")  # UTC+5:45
    assert kathmandu.bounds(at(2026, 11, 24, 18, 14)) == (at(2026, 11, 23, 18, 15), at(2026, 11, 24, 18, 15))


@pytest.mark.parametrize(
    ("now", "hours"), [(at(2026, 3, 29, 12), 23), (at(2026, 10, 25, 12), 25), (at(2026, 6, 1, 12), 24)]
)
def test_a_day_on_which_clocks_change_is_shorter_or_longer(now, hours):
    start, end = parse_period("day", "Europe/Berlin").bounds(now)
    assert end - start == timedelta(hours=hours)
    assert start <= now < end


def test_every_instant_of_a_year_lies_in_its_period_and_periods_touch():
    for name in ("day", "week", "month"):
        period, now = parse_period(name, "America/New_York"), at(2026, 1, 1)
        start, end = period.bounds(now)
        while now < at(2027, 1, 1):
            if now >= end:
                following, after = period.bounds(now)
                assert following == end
                start, end = following, after
            assert period.bounds(now) == (start, end)
            now += timedelta(minutes=97)


def test_a_rolling_window_looks_back_and_a_lifetime_has_no_end():
    now = at(2026, 11, 25)
    assert parse_period("36h").since(now) == at(2026, 11, 23, 12)
    assert parse_period("lifetime").since(now) == EVER
    assert parse_period("30d").bounds(now)[1] is None


def test_how_a_period_is_told():
    assert (
        parse_period("month", "Europe/Berlin").told(at(2026, 11, 30, 22, 59)) == "until 2026-12-01 00:00 Europe/Berlin"
    )
    assert (
        parse_period("month", "Europe/Berlin").told(at(2026, 11, 30, 23, 1)) == "until 2027-01-01 00:00 Europe/Berlin"
    )
    assert [parse_period(p).told(at(2026, 1, 1)) for p in ("90m", "36h", "48h")] == [
        "in any 90m",
        "in any 36h",
        "in any 2d",
    ]
    assert Period(kind="lifetime").told(at(2026, 1, 1)) == "for good"


@pytest.mark.parametrize("text", ["year", "0h", "-1d", "1.5h", "24", "h", "1w", ""])
def test_other_periods_are_refused_with_the_choices(text):
    with pytest.raises(ConfigError, match="day, week, month, lifetime, or a rolling window"):
        parse_period(text)


@pytest.mark.parametrize("name", ["Berlin", "Europe/Nowhere", "", "../etc/passwd"])
def test_unknown_zones_are_refused(name):
    with pytest.raises(ConfigError, match="no such time zone"):
        parse_zone(name)
