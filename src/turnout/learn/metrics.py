"""How good a router is: pure functions of numbers. Each says whose definition it follows.

RouteLLM: Ong et al., arXiv:2406.18665, and its `routellm/evals`. RouterBench: Hu et al., arXiv:2403.12031.
RouterArena: Lu et al., arXiv:2510.00202.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from turnout.learn.outcomes import Floats

__all__ = [
    "BINS",
    "Curve",
    "Hull",
    "aiq",
    "apgr",
    "arena_score",
    "calibration_error",
    "cpt",
    "edges_of",
    "hull_of",
    "interval",
    "resamples",
    "routing_curve",
    "saved",
]

BINS = 10
"""RouteLLM's number of thresholds less one, and the bins of the calibration error."""

ARENA_DEAREST, ARENA_CHEAPEST = 200.0, 0.0044
"""RouterArena's scale of cost, in USD per 1,000 queries."""

ARENA_BETA = 0.1


class Curve(NamedTuple):
    """What a two-model router reaches, [resamples, points]: the share that goes to the strong model, rising, and the
    quality; and each model's own quality, [resamples]."""

    share: Floats
    quality: Floats
    weak: Floats
    strong: Floats


class Hull(NamedTuple):
    """The corners of a non-decreasing concave curve: cost rises, quality rises."""

    cost: Floats
    quality: Floats


def resamples(queries: int, number: int, seed: int) -> NDArray[np.int64]:
    """How often each query is drawn in each bootstrap resample, [number, queries]. The same for every router that is
    given the same seed, so that their differences are paired."""
    return np.random.default_rng(seed).multinomial(queries, np.full(queries, 1 / queries), size=number)


def interval(values: Floats) -> tuple[float, float] | None:
    """The 95 % percentile interval of a resampled figure; None where it cannot be told."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def edges_of(need: Floats) -> Floats:
    """The thresholds of `pandas.qcut` for 10 bins of equal count, its rounding included."""
    return np.quantile(need, np.linspace(0, 1, BINS + 1))


def routing_curve(need: Floats, weak: Floats, strong: Floats, counts: NDArray[np.int64] | None = None) -> Curve:
    """RouteLLM's points of a router. `need`: the score of each query, higher where the strong model is wanted; `weak`
    and `strong`: what each model scored.

    The thresholds are the edges of 10 bins of equal count (`pandas.qcut`, linear interpolation between order
    statistics); a query goes to the strong model where its score is at least the threshold, at the last one where it
    is above it. Equal edges give equal points, where RouteLLM would fail. `counts` [resamples, queries]: each query
    as often; the edges are those of the resample.
    """
    order = np.argsort(need, kind="stable")
    need, weak, strong = need[order], weak[order], strong[order]
    drawn = np.ones((1, len(need)), dtype=np.int64) if counts is None else counts[:, order]
    points = [_points(need, strong - weak, row) for row in drawn]
    total = drawn.sum(axis=1)
    base = drawn @ weak / total
    share = np.stack([p[0] for p in points])
    return Curve(share, base[:, None] + np.stack([p[1] for p in points]), base, drawn @ strong / total)


def _points(need: Floats, gain: Floats, drawn: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Share of strong calls, rising, and what they gain over the weak model, of one resample; `need` is sorted."""
    before = np.concatenate(([0], np.cumsum(drawn)))
    gained = np.concatenate(([0.0], np.cumsum(drawn * gain)))
    total = before[-1]
    edges = edges_of(np.repeat(need, drawn))
    first = np.searchsorted(need, edges, side="left")
    first[-1] = np.searchsorted(need, edges[-1], side="right")
    return ((total - before[first]) / total)[::-1], ((gained[-1] - gained[first]) / total)[::-1]


def apgr(curve: Curve) -> Floats:
    """RouteLLM's average performance gap recovered, [resamples]: the area (trapezoids) between the router's quality
    and the weak model's over the share of strong calls, divided by that between the strong model's and the weak
    one's, both over the router's own points. 0 is the weak model, 0.5 chance; NaN where the two models are equally
    good."""
    width = curve.share[:, -1] - curve.share[:, 0]
    gap = curve.strong - curve.weak
    area = np.trapezoid(curve.quality - curve.weak[:, None], curve.share, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        told = area / (width * gap)
    return np.where(gap * width == 0, np.nan, told)


def cpt(curve: Curve, recovered: float) -> Floats:
    """RouteLLM's call-performance threshold, [resamples]: the percentage of strong calls at which `recovered` (0..1)
    of the gap between the models is recovered, interpolated between the router's points (`numpy.interp`, as RouteLLM
    does, also where quality does not rise throughout)."""
    goal = curve.weak + recovered * (curve.strong - curve.weak)
    told = [np.interp(g, q, s) for g, q, s in zip(goal, curve.quality, curve.share, strict=True)]
    return 100 * np.array(told, dtype=np.float64)


def hull_of(cost: Floats, quality: Floats) -> Hull:
    """RouterBench's non-decreasing convex hull of points: what a router reaches by mixing its settings at random."""
    corners: list[tuple[float, float]] = []
    for i in np.lexsort((-quality, cost)):
        x, y = float(cost[i]), float(quality[i])
        if corners and y <= corners[-1][1]:
            continue
        while len(corners) > 1 and _below(corners[-2], corners[-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    told = np.array(corners, dtype=np.float64)
    return Hull(told[:, 0], told[:, 1])


def _below(one: tuple[float, float], middle: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether the point in the middle lies on the line between its neighbours, or under it."""
    return (other[1] - one[1]) * (middle[0] - one[0]) >= (middle[1] - one[1]) * (other[0] - one[0])


def aiq(hull: Hull, largest_cost: float) -> float:
    """RouterBench's average improvement in quality: the area under the hull, extended flat to the largest cost of all
    that are compared, divided by that cost. Below its cheapest corner a router answers nothing, so there is no
    area."""
    inside = hull.cost < largest_cost
    cost = np.append(hull.cost[inside], largest_cost)
    quality = np.append(hull.quality[inside], np.interp(largest_cost, hull.cost, hull.quality))
    return float(np.trapezoid(quality, cost) / largest_cost)


def saved(hull: Hull, level: float, best_quality: float, best_cost: float) -> float | None:
    """The share of the best single model's cost that is saved by the cheapest mix on the hull which reaches `level`
    (0..1) of its quality. None: no mix does. Negative: it costs more."""
    goal = level * best_quality
    if hull.quality[-1] < goal - 1e-12 or best_cost <= 0:
        return None
    told = 1 - float(np.interp(goal, hull.quality, hull.cost)) / best_cost
    return 0.0 if abs(told) < 1e-12 else told


def arena_score(quality: float, usd_a_query: float) -> float:
    """RouterArena's score of one setting: the weighted harmonic mean, with beta = 0.1, of quality A and of cost on a
    log scale, C = (log2 200 - log2 c) / (log2 200 - log2 0.0044), c in USD per 1,000 queries, held within the
    scale."""
    per_thousand = min(max(usd_a_query * 1_000, ARENA_CHEAPEST), ARENA_DEAREST)
    cheap = math.log2(ARENA_DEAREST / per_thousand) / math.log2(ARENA_DEAREST / ARENA_CHEAPEST)
    below = ARENA_BETA * quality + cheap
    return (1 + ARENA_BETA) * quality * cheap / below if below else 0.0


def calibration_error(chances: Floats, scores: Floats, bins: int = BINS) -> float | None:
    """Expected calibration error: the mean distance between predicted and found success over bins of equal count
    (Nixon et al., arXiv:1904.01685, its adaptive form with one class). None without predictions."""
    if not len(chances):
        return None
    order = np.argsort(chances, kind="stable")
    parts: Sequence[NDArray[np.intp]] = np.array_split(order, min(bins, len(order)))
    return sum(len(p) * abs(float(chances[p].mean() - scores[p].mean())) for p in parts) / len(order)
