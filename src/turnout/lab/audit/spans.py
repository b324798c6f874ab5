"""Days put together so that they fit a plot: by day, week, month or year, without what wrong clocks made. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from itertools import pairwise

from msgspec import Struct

__all__ = ["Span", "spans"]

GAP = timedelta(days=366)
"""Days further apart than this are not shown on one axis: one log with a wrong clock would make all others one dot."""


class Span(Struct, frozen=True, kw_only=True):
    """Neighbouring days, weeks, months or years: `places` knows them by their first day. `outside`: days left out."""

    unit: str
    names: tuple[str, ...]
    places: dict[date, int]
    outside: int

    def place(self, day: str) -> int | None:
        """Which one an ISO day belongs to; None: not on this axis."""
        at = _date(day)
        return None if at is None else self.places.get(BEGINS[self.unit](at))

    def named(self, place: int) -> str:
        """Its name in a sentence."""
        return f"week of {self.names[place]}" if self.unit == "week" else self.names[place]


def spans(days: Iterable[str], most: int) -> Span | None:
    """At most `most` of the finest unit that allows it (years as many as there are); None where no day is given."""
    known = sorted({at for day in days if (at := _date(day)) is not None})
    if not known:
        return None
    runs: list[list[date]] = [[known[0]]]
    for before, at in pairwise(known):
        if at - before > GAP:
            runs.append([])
        runs[-1].append(at)
    run = max(reversed(runs), key=len)
    outside = len(known) - len(run)
    for unit in BEGINS:
        begins = _between(run[0], run[-1], unit)
        if len(begins) <= most or unit == "year":
            names = tuple(NAMES[unit](at) for at in begins)
            return Span(unit=unit, names=names, places={at: i for i, at in enumerate(begins)}, outside=outside)
    return None


def _between(first: date, last: date, unit: str) -> list[date]:
    """The beginnings of all units from the first day to the last, those without calls too."""
    begin = BEGINS[unit]
    found = {begin(first + timedelta(days=n)): None for n in range((last - first).days + 1)}
    return list(found)


def _date(day: str) -> date | None:
    try:
        return date.fromisoformat(day)
    except ValueError:
        return None


BEGINS: dict[str, Callable[[date], date]] = {
    "day": lambda at: at,
    "week": lambda at: at - timedelta(days=min(at.weekday(), (at - date.min).days)),
    "month": lambda at: at.replace(day=1),
    "year": lambda at: at.replace(month=1, day=1),
}

NAMES: dict[str, Callable[[date], str]] = {
    "day": lambda at: f"{at.day} {at:%b}",
    "week": lambda at: f"{at.day} {at:%b}",
    "month": lambda at: f"{at:%b} {at.year}",
    "year": lambda at: str(at.year),
}
