"""Tables of the audit's page: cells that know their value, so that a script can sort them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from msgspec import Struct

from turnout.lab.audit.markup import Markup, clean, percent, short, tag, tokens, usd

__all__ = ["Cell", "count", "money", "name", "share", "table", "volume", "words"]


MOST_SEEN = 12
"""Rows; more scroll in a frame of their own."""


class Cell(Struct, frozen=True):
    """What a cell shows. `value`: what it is sorted by, where that is a number."""

    shown: str | Markup
    value: float | None = None


def words(text: str | Markup) -> Cell:
    return Cell(text)


def name(text: str, most: int = 60) -> Cell:
    """A name out of a log."""
    return Cell(short(text, most))


def count(number: int) -> Cell:
    return Cell(f"{number:,}", number)


def volume(number: float) -> Cell:
    """Tokens."""
    return Cell(tokens(number), number)


def money(amount: float | None, missing: str = "") -> Cell:
    """USD; `missing` where there is none."""
    return Cell(missing, -1.0) if amount is None else Cell(usd(amount), amount)


def share(part: float, whole: float) -> Cell:
    return Cell(percent(part / whole), part / whole) if whole else Cell("", -1.0)


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, sortable: bool = False, listed: bool = False
) -> Markup:
    """A table in a frame of its own that scrolls sideways where it has no room, by keys as well. The first cell of a
    row is its head. `listed`: on a narrow screen it becomes a list, so cells have their columns' heads with them."""
    body = list(rows)
    numeric = [any(row[place].value is not None for row in body) for place in range(len(heads))]
    head = tag(
        "tr",
        *(tag("th", text, scope="col", class_="n" if numeric[place] else None) for place, text in enumerate(heads)),
    )
    inner = tag(
        "table",
        tag("caption", caption, class_="quiet"),
        tag("thead", head),
        tag("tbody", *(_row(row, heads if listed else ()) for row in body)),
        class_="sortable" if sortable else None,
    )
    frame = "wide tall" if len(body) > MOST_SEEN else "wide"
    return tag("div", inner, class_=frame, tabindex="0", role="region", aria_label=clean(caption, 120))


def _row(row: Sequence[Cell], heads: Sequence[str]) -> Markup:
    first = tag("th", row[0].shown, scope="row", data_v=row[0].value)
    return tag("tr", first, *(_cell(cell, head) for cell, head in zip_longest(row[1:], heads[1:])))


def _cell(cell: Cell, head: str | None) -> Markup:
    kind = None if cell.value is None else "n"
    return tag("td", cell.shown, class_=kind, data_v=cell.value, data_head=head)
