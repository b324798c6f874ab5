"""When a budget's money is for: calendar periods in a time zone, rolling windows, or for good. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from turnout.errors import ConfigError

__all__ = ["EVER", "Period", "parse_period", "parse_zone"]

Kind = Literal["day", "week", "month", "rolling", "lifetime"]

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When the one period of a lifetime or rolling budget began."""

_WINDOW = re.compile(r"([1-9]\d{0,5})(m|h|d)")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Period(Struct, frozen=True, kw_only=True):
    """`window` is how far back a rolling budget looks. `zone` is where a day begins (IANA name)."""

    kind: Kind = "month"
    window: timedelta = timedelta()
    zone: str = "UTC"

    def bounds(self, at: datetime) -> tuple[datetime, datetime | None]:
        """The period that holds `at`, in UTC: from midnight of the day, the week's Monday, the month's first, to
        before the next. Where clocks change a day has 23 or 25 hours. Rolling and lifetime: `EVER`, None."""
        if self.kind in {"rolling", "lifetime"}:
            return EVER, None
        zone = _zone(self.zone)
        day = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
        match self.kind:
            case "week":
                start = day - timedelta(days=day.weekday())
                end = start + timedelta(days=7)
            case "month":
                start = day.replace(day=1)
                end = (start + timedelta(days=32)).replace(day=1)
            case _:
                start, end = day, day + timedelta(days=1)
        # Arithmetic on the wall's time, then to UTC: the next midnight is not always 24 hours away.
        return start.replace(tzinfo=zone).astimezone(UTC), end.replace(tzinfo=zone).astimezone(UTC)

    def since(self, at: datetime) -> datetime:
        """From when on spending counts at `at`."""
        return at.astimezone(UTC) - self.window if self.kind == "rolling" else self.bounds(at)[0]

    def told(self, at: datetime) -> str:
        """How long what is spent stays spent, for people: `until 2026-12-01 00:00 Europe/Berlin`."""
        end = self.bounds(at)[1]
        if end is not None:
            return f"until {end.astimezone(_zone(self.zone)):%Y-%m-%d %H:%M} {self.zone}"
        return f"in any {_shown(self.window)}" if self.kind == "rolling" else "for good"


def parse_period(text: str, zone: str = "UTC", *, key: str = "period") -> Period:
    """`day`, `week`, `month`, `lifetime`, or a rolling window: `90m`, `24h`, `30d`. Raises ConfigError naming `key`."""
    match text:
        case "day" | "week" | "month" | "lifetime":
            return Period(kind=text, zone=zone)
        case _:
            found = _WINDOW.fullmatch(text)
            if found is None:
                raise ConfigError(
                    f"{key} = {text!r}: use day, week, month, lifetime, or a rolling window as 24h or 30d", param=key
                )
            return Period(kind="rolling", window=int(found[1]) * _UNITS[found[2]], zone=zone)


def parse_zone(name: str, *, key: str = "timezone") -> str:
    """`name` if it is a time zone of the IANA database. Raises ConfigError naming `key`."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigError(
            f"{key} = {name!r}: no such time zone; use a name as UTC, Europe/Berlin or America/New_York", param=key
        ) from None
    return name


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _shown(window: timedelta) -> str:
    minutes = round(window.total_seconds() / 60)
    for size, word in ((1440, "d"), (60, "h")):
        if minutes % size == 0:
            return f"{minutes // size}{word}"
    return f"{minutes}m"
