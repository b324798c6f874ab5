"""Fitting the predictor of `turnout.routing.predictor` to a table of outcomes: difficulty, curves, exemplars, doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import Ridge

from turnout.learn.outcomes import Floats, OutcomeTable, Rows
from turnout.predicting import weights_of
from turnout.routing.features import BUCKETS, DENSE, Features, features_of
from turnout.routing.predictor import (
    MOST_EXEMPLARS,
    SHARPNESS,
    UNIT,
    Curve,
    Exemplar,
    Predictor,
    Weights,
    neighbours_of,
)

__all__ = ["Fit", "Fitted", "fit_weights", "load", "validation_rows"]

ALPHAS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Ridge penalties that are tried by cross-validation."""

FOLDS = 5
SHRINKS = (1.0, 3.0, 10.0, 30.0, 100.0, 1e6)
VALIDATED = 1_500
"""Rows on which the shrinkage of neighbours is chosen, and a fit is judged."""


class Fitted:
    """A predictor as evaluation knows it (`turnout.learn.routers.Predictor`). What was predicted is no evidence: it
    does not learn from what it is asked."""

    def __init__(self, weights: Weights, tiers: Mapping[str, str] | None = None) -> None:
        self.weights = weights
        self.models = frozenset(weights.models)
        self._predictor = Predictor(weights, tiers)

    def predict(self, queries: Sequence[str], models: Sequence[str]) -> NDArray[np.float64]:
        seen = map(self._predictor.see, map(features_of, queries))
        return np.array([[self._predictor.predict(one, model).success for model in models] for one in seen])

    def need(self, queries: Sequence[str], weak: str, strong: str) -> NDArray[np.float64]:
        """What the strong model is expected to add; of models that it has no outcomes of: as a larger model to a small
        one."""
        pair = (weak, strong) if self.models.issuperset((weak, strong)) else ("small", "mid")
        seen = map(self._predictor.see, map(features_of, queries))
        return np.array([self._predictor.need(one, *pair) for one in seen])


class Fit:
    """Learns from the rows of a table alone (`turnout.learn.routers.Fitter`)."""

    name = "turnout"

    def fit(self, table: OutcomeTable, rows: Rows) -> Fitted:
        features = [features_of(table.queries[row]) for row in rows]
        return Fitted(fit_weights(features, table.scores[rows], table.models, name=table.name))


def load(folder: str | None) -> Fitted:
    """The packaged predictor, or the one that a folder of `turnout train` holds. Raises ConfigError."""
    return Fitted(weights_of(folder))


def validation_rows(count: int, seed: int) -> Rows:
    """Rows on which a fit is judged: enough to tell, not so many that it takes long."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:VALIDATED]).astype(np.intp)


class Matrix(Struct, frozen=True, kw_only=True, eq=False):
    """Features as matrices: `text` [rows, buckets] of unit length, `dense` [rows, DENSE], standardised and clipped."""

    text: sparse.csr_matrix
    dense: Floats
    centre: Floats
    spread: Floats

    @property
    def inputs(self) -> sparse.csr_matrix:
        """Text and structure side by side, each of about unit length."""
        return sparse.csr_matrix(sparse.hstack([self.text, sparse.csr_matrix(self.dense / np.sqrt(len(DENSE)))]))


def matrix_of(features: Sequence[Features]) -> Matrix:
    ends = np.cumsum([0, *(len(f.buckets) for f in features)])
    columns = np.concatenate([np.asarray(f.buckets, np.int32) for f in features])
    values = np.repeat([f.weight for f in features], np.diff(ends))
    text = sparse.csr_matrix((values, columns, ends), shape=(len(features), BUCKETS))
    raw = np.array([f.dense for f in features])
    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    # What never varied says nothing yet: one unit of it is one step.
    spread = np.where(spread > 1e-6, spread, 1.0)
    return Matrix(text=text, dense=np.clip((raw - centre) / spread, -4, 4), centre=centre, spread=spread)


def fit_weights(
    features: Sequence[Features],
    scores: Floats,
    models: Sequence[str],
    *,
    name: str,
    tiers: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Weights:
    """The predictor that these outcomes teach. `scores` [rows, models] 0..1, NaN where a model was not asked; `tiers`
    of the models, where curves of tiers are wanted."""
    matrix = matrix_of(features)
    asked = np.isfinite(scores)
    failed = -np.nanmean(np.where(asked, scores - np.nanmean(scores, axis=0), np.nan), axis=1)
    ridge, held_out, apart = _difficulty(matrix.inputs, failed, seed)
    d_centre, d_spread = float(held_out.mean()), float(held_out.std()) or 1.0
    d = (held_out - d_centre) / d_spread
    text, structure = ridge[:BUCKETS], ridge[BUCKETS:] / np.sqrt(len(DENSE))
    scale = float(np.abs(text).max()) / 127 or 1.0
    inputs = np.column_stack([np.ones(len(d)), d, np.maximum(d, 0), matrix.dense])
    curves, shared, by_tier = _curves(inputs, scores, models, tiers or {})
    said = _chances(inputs, curves)
    better = scores - said
    kept = np.random.default_rng(seed).permutation(len(features))[:MOST_EXEMPLARS]
    return Weights(
        name=name,
        trained_on=(name,),
        count=int(asked.sum()),
        text=np.round(text / scale).astype(np.int8).tobytes(),
        text_scale=scale,
        centre=tuple(matrix.centre.tolist()),
        spread=tuple(matrix.spread.tolist()),
        structure=tuple(structure.tolist()),
        d_centre=d_centre,
        d_spread=d_spread,
        d_error=apart / d_spread,
        all=shared,
        tiers=by_tier,
        models=dict(zip(models, curves, strict=True)),
        exemplars=tuple(
            Exemplar(
                features[i].buckets,
                {m: round(float(b), 3) for m, b in zip(models, better[i], strict=True) if np.isfinite(b)},
            )
            for i in kept
        ),
        shrink=_shrinkage(matrix.text, said, scores, seed),
    )


def _difficulty(inputs: sparse.csr_matrix, failed: Floats, seed: int) -> tuple[Floats, Floats, float]:
    """Ridge coefficients of the difficulty, what it says of each row that it was not fitted to, and by how much fits to
    different parts differ."""
    fold = np.random.default_rng(seed).permutation(len(failed)) % FOLDS
    best: tuple[float, float, list[Floats]] | None = None
    for alpha in ALPHAS:
        fits = [_ridge(inputs[fold != k], failed[fold != k], alpha) for k in range(FOLDS)]
        held = np.empty_like(failed)
        for k, fit in enumerate(fits):
            held[fold == k] = inputs[fold == k] @ fit
        error = float(np.mean((failed - failed.mean() - held) ** 2))
        if best is None or error < best[0]:
            best = (error, alpha, fits)
    assert best is not None  # there are penalties  # noqa: S101
    _, alpha, fits = best
    said = np.column_stack([inputs @ fit for fit in fits])
    held = said[np.arange(len(failed)), fold]
    others = np.where(np.arange(FOLDS)[None, :] == fold[:, None], np.nan, said)
    return _ridge(inputs, failed, alpha), held, float(np.nanmean(np.abs(others - held[:, None])))


def _ridge(inputs: sparse.csr_matrix, target: Floats, alpha: float) -> Floats:
    solved = Ridge(alpha=alpha, solver="sparse_cg", fit_intercept=False, tol=1e-4)
    return np.asarray(solved.fit(inputs, target - target.mean()).coef_, np.float64)


def _curves(
    inputs: Floats, scores: Floats, models: Sequence[str], tiers: Mapping[str, str]
) -> tuple[list[Curve], Curve, dict[str, Curve]]:
    """A curve for each model, shrunk to that of its tier and of all: first alone, then beside the others (empirical
    Bayes: the spread between models is the prior's)."""
    width = inputs.shape[1]
    wide = np.array([2.0, 1.5, 1.0, *[0.25] * (width - 3)])
    alone = [_logistic(inputs, scores[:, m], np.zeros(width), wide) for m in range(len(models))]
    means = np.array([mean for mean, _ in alone])
    floor = np.array([0.5, 0.2, 0.2, *[0.03] * (width - 3)])
    centre = means.mean(axis=0)
    spread = np.maximum(means.std(axis=0), floor) if len(models) > 2 else wide / 2
    second = [_logistic(inputs, scores[:, m], centre, spread) for m in range(len(models))]
    counts = np.isfinite(scores).sum(axis=0)
    curves = [_curve(mean, sd, int(n)) for (mean, sd), n in zip(second, counts, strict=True)]
    groups: dict[str, Curve] = {}
    for tier in sorted(set(tiers.values())):
        mine = np.array([second[i][0] for i, model in enumerate(models) if tiers.get(model) == tier])
        groups[tier] = _curve(mine.mean(axis=0), np.maximum(mine.std(axis=0), floor), len(mine))
    return curves, _curve(centre, np.maximum(spread, floor), len(models)), groups


def _curve(mean: Floats, sd: Floats, count: int) -> Curve:
    return Curve(tuple(np.round(mean, 4).tolist()), tuple(np.round(sd, 4).tolist()), count)


def _logistic(inputs: Floats, score: Floats, mean: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """Logistic regression with a normal prior: the mode by Newton's steps, and Laplace's standard deviations (Bishop,
    Pattern Recognition and Machine Learning, 4.5.1). Scores between 0 and 1 are shares."""
    asked = np.isfinite(score)
    x, y = inputs[asked], score[asked]
    beta, precision = mean.copy(), np.diag(1 / sd**2)
    hessian = precision
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (y - p) - precision @ (beta - mean)
        hessian = x.T @ (x * (p * (1 - p))[:, None]) + precision
        step = np.linalg.solve(hessian, gradient)
        beta = beta + step
        if float(np.abs(step).max()) < 1e-6:
            break
    return beta, np.sqrt(np.diag(np.linalg.inv(hessian)))


def _chances(inputs: Floats, curves: Sequence[Curve]) -> Floats:
    logits = inputs @ np.array([curve.mean for curve in curves]).T
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def _shrinkage(text: sparse.csr_matrix, said: Floats, scores: Floats, seed: int) -> float:
    """How few neighbours are held against what they say, chosen on rows that are left out of their own neighbourhood.
    `said`: the curves' chances."""
    rows = np.random.default_rng(seed + 1).permutation(len(scores))[:VALIDATED]
    alike = np.asarray((text[rows] @ text.T).todense())
    alike[np.arange(len(rows)), rows] = -1.0
    k = min(neighbours_of(len(scores)), alike.shape[1] - 1)
    near = np.argpartition(-alike, k - 1, axis=1)[:, :k]
    weight = np.exp(SHARPNESS * (np.take_along_axis(alike, near, axis=1) - 1))[:, :, None]
    better = scores - said
    there = np.isfinite(better[near]) * weight
    summed, weights = (np.nan_to_num(better[near]) * there).sum(axis=1), there.sum(axis=1)
    errors = [
        np.nanmean((np.clip(said[rows] + summed / (weights + shrink * UNIT), 0.001, 0.999) - scores[rows]) ** 2)
        for shrink in SHRINKS
    ]
    return SHRINKS[int(np.argmin(errors))]
