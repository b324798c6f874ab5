"""The series of one process as they stood, and of several processes as if they were one. Pure.

prometheus_client has a mode for several processes of its own; it keeps a file for each process that ever was, and its
own counters, which are not ours (`series.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from turnout.telemetry.series import OTHER

__all__ = ["Among", "Series", "Snapshot", "Times", "cumulated", "merged", "past"]

Labels = tuple[str, ...]

Series = dict[str, dict[Labels, float]]
"""Values by their labels, by the name of the metric."""

Times = dict[str, dict[Labels, tuple[list[int], float]]]
"""How many values fell into each bucket, and their sum."""

Among = Literal["sum", "max", "min"]
"""What a gauge of several processes is."""

_TAKEN: Mapping[Among, Callable[[float, float], float]] = {"sum": lambda a, b: a + b, "max": max, "min": min}

MOST_PAST = 2_000
"""Rows of one metric that processes which ended leave behind; the rest is added up as `other`."""


class Snapshot(Struct, frozen=True, kw_only=True, array_like=True):
    """`at_s`: when, by the monotonic clock, which all processes of a machine have in common."""

    at_s: float
    counters: Series = {}
    gauges: Series = {}
    timings: Times = {}


def merged(snapshots: Sequence[Snapshot], among: Mapping[str, Among]) -> Snapshot:
    """All of them as one, as late as the last. `among`: of each gauge, what it is of several processes.

    Adding in the same order each time keeps sums of dollars from falling by a rounding."""
    counters, gauges, timings = Series(), Series(), Times()
    for told in snapshots:
        _put(counters, told.counters, lambda _: _TAKEN["sum"])
        _put(gauges, told.gauges, lambda name: _TAKEN[among[name]])
        for name, rows in told.timings.items():
            _put_times(timings.setdefault(name, {}), rows)
    return Snapshot(
        at_s=max((told.at_s for told in snapshots), default=0.0), counters=counters, gauges=gauges, timings=timings
    )


def past(told: Snapshot, most: int = MOST_PAST) -> Snapshot:
    """What stays of a process that has ended: what it counted. However many end, it stays bounded."""
    counters, timings = Series(), Times()
    for name, rows in told.counters.items():
        kept = counters.setdefault(name, {})
        for labels, value in rows.items():
            shown = labels if len(kept) < most else (OTHER,) * len(labels)
            kept[shown] = kept.get(shown, 0) + value
    for name, times in told.timings.items():
        known = timings.setdefault(name, {})
        for labels, one in times.items():
            _put_times(known, {labels if len(known) < most else (OTHER,) * len(labels): one})
    return replace(told, counters=counters, gauges={}, timings=timings)


def _put(into: Series, told: Series, how: Callable[[str], Callable[[float, float], float]]) -> None:
    for name, rows in told.items():
        known, take = into.setdefault(name, {}), how(name)
        for labels, value in rows.items():
            known[labels] = take(known[labels], value) if labels in known else value


def _put_times(known: dict[Labels, tuple[list[int], float]], told: Mapping[Labels, tuple[list[int], float]]) -> None:
    for labels, (counts, total) in told.items():
        before, so_far = known.get(labels, ([0] * len(counts), 0.0))
        known[labels] = [a + b for a, b in zip(before, counts, strict=True)], so_far + total


def cumulated(bounds: Iterable[float], counts: Iterable[int]) -> list[tuple[str, float]]:
    """Each bound as text, with how many values were at most that; the last is `+Inf`."""
    total, told = 0, list[tuple[str, float]]()
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        total += count
        told.append((bound, total))
    return told
