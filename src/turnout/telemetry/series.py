"""Sums for a metrics page: bounded names, counters, histograms. Pure memory, no locks: one event loop owns them.

Why not prometheus_client's own: an `inc` there takes a lock and 4 times as long, `labels()` 28 times, and money is kept
here as integers (bench/telemetry.py). It writes the page (`exposition.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

__all__ = ["NONE", "OTHER", "Histogram", "Names", "Sums"]

OTHER = "other"
"""What every name is called that comes after the bound."""

NONE = "none"
"""The label where there is nothing to name."""

MOST_CHARACTERS = 120
"""Of one label's value; whoever sends a longer name finds it cut."""


class Names(dict[str | None, str]):
    """What each name is called on the page: at most `most` names that callers chose, those that came first, are called
    by themselves; the rest is `other`. Names that the config knows (`expect`) are always shown and take no place:
    nobody can crowd them out."""

    def __init__(self, most: int) -> None:
        super().__init__({None: NONE, "": NONE})
        self._left = most

    def expect(self, names: Iterable[str]) -> None:
        """These are shown whatever else comes. What was expected once stays: a counter must not lose its series."""
        self |= {name: _plain(name) for name in names}

    def __missing__(self, name: str) -> str:
        # A long name is not kept: a hundred of a megabyte would be.
        if self._left <= 0 or len(name) > MOST_CHARACTERS:
            return OTHER
        self._left -= 1
        shown = self[name] = _plain(name)
        return shown


def _plain(name: str) -> str:
    """A name that any encoding of the page can carry."""
    return name[:MOST_CHARACTERS].encode("utf-8", "replace").decode()


class Sums:
    """A counter for each combination of labels, `most` of them; the rest is counted as `other` in every label, so that
    the total stays right."""

    def __init__(self, most: int = 2_000) -> None:
        self._most = most
        self._cells: dict[tuple[str, ...], list[int]] = {}

    def add(self, labels: tuple[str, ...], amount: int = 1) -> None:
        cell = self._cells.get(labels)
        (self._new(labels) if cell is None else cell)[0] += amount

    def _new(self, labels: tuple[str, ...]) -> list[int]:
        if len(self._cells) >= self._most:
            labels = (OTHER,) * len(labels)
        return self._cells.setdefault(labels, [0])

    @property
    def values(self) -> dict[tuple[str, ...], int]:
        return {labels: cell[0] for labels, cell in self._cells.items()}


class Histogram:
    """How often values fell below each of `bounds` (rising), and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
