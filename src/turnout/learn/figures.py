"""The figures of a router on a table: metrics of its decisions, with bootstrap intervals over queries. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from turnout.learn.baselines import best_single
from turnout.learn.metrics import (
    Curve,
    Hull,
    aiq,
    apgr,
    arena_score,
    calibration_error,
    cpt,
    hull_of,
    interval,
    routing_curve,
    saved,
)
from turnout.learn.outcomes import Floats, OutcomeTable
from turnout.learn.routers import Decisions, Pair

__all__ = ["LEVELS", "Figures", "Measured", "measure", "of_dataset"]

LEVELS = (95, 98, 100)
"""Percent of the best single model's quality at which savings are told."""


class Measured(Struct, frozen=True, kw_only=True):
    """A figure with its 95 % interval; None: not resampled."""

    value: float
    low: float | None = None
    high: float | None = None


class Figures(Struct, frozen=True, kw_only=True):
    """None: does not apply, or cannot be told (no costs, no need, no chances, the quality is not reached). `cpt50`,
    `cpt80`: percent of strong calls. `saved`: share of the best single model's cost, by percent of its quality."""

    apgr: Measured | None = None
    cpt50: float | None = None
    cpt80: float | None = None
    aiq: Measured | None = None
    saved: dict[str, float | None] = {}
    arena: float | None = None
    ece: float | None = None


class _Sweep(Struct, frozen=True, kw_only=True, eq=False):
    """What each setting reaches: [resamples, settings]; and the dearest single model's mean cost, [resamples]."""

    cost: Floats
    quality: Floats
    dearest: Floats

    def hull(self, resample: int = 0) -> Hull:
        return hull_of(self.cost[resample], self.quality[resample])

    def aiq(self) -> Floats:
        told = [aiq(self.hull(b), float(most)) for b, most in enumerate(self.dearest)]
        return np.array(told, dtype=np.float64)


def of_dataset(table: OutcomeTable, decisions: Decisions, dataset: str) -> Decisions:
    """The decisions for the queries of one dataset."""
    here = np.array([table.datasets[i] == dataset for i in decisions.rows], dtype=bool)
    return replace(
        decisions,
        rows=decisions.rows[here],
        need=None if decisions.need is None else decisions.need[here],
        picks=None if decisions.picks is None else decisions.picks[:, here],
        chances=None if decisions.chances is None else decisions.chances[here],
    )


def measure(
    table: OutcomeTable, pair: Pair, draws: Sequence[Decisions], counts: NDArray[np.int64] | None = None
) -> Figures:
    """All figures of a router, each the mean over its draws. `counts` [resamples, the table's queries] gives the
    intervals; each draw's resample is that of its own rows."""
    draws = [d for d in draws if len(d.rows)]
    if not draws:
        return Figures()
    told = _routing(table, pair, draws, counts)
    if np.isfinite(table.costs[draws[0].rows]).all() and all(d.picks is not None for d in draws):
        told = _spending(told, table, draws, counts)
    errors = [
        calibration_error(d.chances.ravel(), table.scores[d.rows].ravel()) for d in draws if d.chances is not None
    ]
    return replace(told, ece=_mean(errors) if errors else None)


def _routing(table: OutcomeTable, pair: Pair, draws: Sequence[Decisions], counts: NDArray[np.int64] | None) -> Figures:
    curves = [_curve(table, pair, d, None) for d in draws]
    known = [c for c in curves if c is not None]
    if len(known) < len(draws):
        return Figures()
    resampled = [_curve(table, pair, d, counts) for d in draws] if counts is not None else []
    return Figures(
        apgr=_measured([apgr(c) for c in known], [apgr(c) for c in resampled if c is not None]),
        cpt50=_finite(float(np.mean([cpt(c, 0.5)[0] for c in known]))),
        cpt80=_finite(float(np.mean([cpt(c, 0.8)[0] for c in known]))),
    )


def _curve(table: OutcomeTable, pair: Pair, told: Decisions, counts: NDArray[np.int64] | None) -> Curve | None:
    if told.need is None:
        return None
    scores = table.scores[told.rows]
    drawn = None if counts is None else counts[:, told.rows]
    return routing_curve(told.need, scores[:, pair.weak], scores[:, pair.strong], drawn)


def _spending(
    told: Figures, table: OutcomeTable, draws: Sequence[Decisions], counts: NDArray[np.int64] | None
) -> Figures:
    sweeps = [_sweep(table, d, None) for d in draws]
    resampled = [_sweep(table, d, counts).aiq() for d in draws] if counts is not None else []
    savings: dict[str, float | None] = {}
    for level in LEVELS:
        savings[str(level)] = _mean([_saved(table, d, s.hull(), level) for d, s in zip(draws, sweeps, strict=True)])
    arena = [max(map(arena_score, s.quality[0].tolist(), s.cost[0].tolist())) for s in sweeps]
    return replace(told, aiq=_measured([s.aiq() for s in sweeps], resampled), saved=savings, arena=_mean(arena))


def _sweep(table: OutcomeTable, told: Decisions, counts: NDArray[np.int64] | None) -> _Sweep:
    rows, picks = told.rows, told.picks
    assert picks is not None  # noqa: S101 (the caller has looked)
    weights = np.ones((1, len(rows))) if counts is None else counts[:, rows].astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    quality = np.take_along_axis(table.scores[rows], picks.T, axis=1)
    cost = np.take_along_axis(table.costs[rows], picks.T, axis=1)
    return _Sweep(cost=weights @ cost, quality=weights @ quality, dearest=(weights @ table.costs[rows]).max(axis=1))


def _saved(table: OutcomeTable, told: Decisions, hull: Hull, level: int) -> float | None:
    column = best_single(table, told.rows)
    quality = float(table.scores[told.rows, column].mean())
    return saved(hull, level / 100, quality, float(table.costs[told.rows, column].mean()))


def _measured(values: Sequence[Floats], resampled: Sequence[Floats]) -> Measured | None:
    value = _finite(float(np.mean([v[0] for v in values])))
    if value is None:
        return None
    found = interval(np.mean(resampled, axis=0)) if len(resampled) else None
    return Measured(value=value, low=found[0] if found else None, high=found[1] if found else None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if len(known) == len(values) and known else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
