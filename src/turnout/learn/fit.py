"""Fitting the predictor of `turnout.routing.predictor` to a table of outcomes: difficulty, curves, exemplars, doubt.

Where outcomes are few, two more things are averaged in, in standard deviations of what the models' chances differ by:
what tells the strong models from the weak, fitted by itself, and what the packaged predictor thinks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import Ridge

from turnout.learn.embed import Embeds
from turnout.learn.outcomes import Floats, OutcomeTable, Rows
from turnout.predicting import weights_of
from turnout.routing.features import BUCKETS, DENSE, Features, features_of
from turnout.routing.predictor import (
    MOST_EXEMPLARS,
    SHARPNESS,
    UNIT,
    Contrast,
    Curve,
    Exemplar,
    Predictor,
    Seen,
    Weights,
    neighbours_of,
)

__all__ = ["Fit", "Fitted", "fit_weights", "load", "stands_on", "validation_rows"]

ALPHAS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Ridge penalties that are tried by cross-validation."""

FOLDS = 5
SHRINKS = (1.0, 3.0, 10.0, 30.0, 100.0, 1e6)
VALIDATED = 1_500
"""Rows on which the shrinkage of neighbours is chosen, and a fit is judged."""

FURTHER = 3 + len(DENSE)
"""Where the inputs of a curve begin that not every file has, the contrast first."""

STEADY = 300
"""Rows that the base is worth: it counts STEADY / (rows + STEADY) beside what is fitted. Chosen with 300 and 1,500
labels of zeroeval: weights from 0.3 to 0.6 were best with 300, and none with 1,500."""

DOUBT = 0.05
"""Standard deviation of what is averaged in and not fitted. Assumed; a model's own outcomes soon say."""

LEAST = 0.1
"""Below this the base is left out: it would cost more at each decision than it says."""

KNOWN = 0.01
"""Share of rows that the base was taught, above which it is no base: it would say what it remembers."""


class Embedded(NamedTuple):
    """What vectors of prompts add to the contrast: [dimensions], in its standard deviations."""

    embeds: Embeds
    direction: Floats


class Fitted:
    """A predictor as evaluation knows it (`turnout.learn.routers.Predictor`). What was predicted is no evidence: it
    does not learn from what it is asked."""

    def __init__(
        self, weights: Weights, tiers: Mapping[str, str] | None = None, *, embedded: Embedded | None = None
    ) -> None:
        self.weights = weights
        self.models = frozenset(weights.models)
        self._predictor = Predictor(weights, tiers)
        self._embedded = embedded

    def predict(self, queries: Sequence[str], models: Sequence[str]) -> NDArray[np.float64]:
        return np.array(
            [[self._predictor.predict(one, model).success for model in models] for one in self._see(queries)]
        )

    def need(self, queries: Sequence[str], weak: str, strong: str) -> NDArray[np.float64]:
        """What the strong model is expected to add; of models that it has no outcomes of: as a larger model to a small
        one."""
        pair = (weak, strong) if self.models.issuperset((weak, strong)) else ("small", "mid")
        return np.array([self._predictor.need(one, *pair) for one in self._see(queries)])

    def _see(self, queries: Sequence[str]) -> Iterator[Seen]:
        seen = map(self._predictor.see, map(features_of, queries))
        if self._embedded is None:
            yield from seen
            return
        more = self._embedded.embeds.vectors(queries) @ self._embedded.direction
        at = FURTHER
        for one, value in zip(seen, more.tolist(), strict=True):
            yield one._replace(x=(*one.x[:at], one.x[at] + value, *one.x[at + 1 :]))


class Fit:
    """Learns from the rows of a table alone, on top of a base (`turnout.learn.routers.Fitter`). `based`: not from
    nothing; `embeds`: the vectors of prompts speak too."""

    name = "turnout"

    def __init__(self, *, based: bool = True, embeds: Embeds | None = None) -> None:
        self._base = weights_of(None) if based else None
        self._embeds = embeds

    def fit(self, table: OutcomeTable, rows: Rows) -> Fitted:
        queries = [table.queries[row] for row in rows]
        features = [features_of(query) for query in queries]
        vectors = self._embeds.vectors(queries) if self._embeds else None
        base = stands_on(self._base, features)
        weights, direction = fit_apart(
            features, table.scores[rows], table.models, name=table.name, base=base, vectors=vectors
        )
        if self._embeds is None:
            return Fitted(weights)
        return Fitted(weights, embedded=Embedded(self._embeds, direction))

    def fallback(self, table: OutcomeTable, rows: Rows) -> Fitted | None:
        """What is there without these rows."""
        base = stands_on(self._base, [features_of(table.queries[row]) for row in rows])
        return Fitted(base) if base else None


def stands_on(base: Weights | None, features: Sequence[Features]) -> Weights | None:
    """The base, unless it was taught these very requests."""
    if base is None:
        return None
    taught = {exemplar.buckets for exemplar in base.exemplars}
    return base if sum(f.buckets in taught for f in features) <= KNOWN * len(features) else None


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


class Direction(Struct, frozen=True, kw_only=True, eq=False):
    """A number that is predicted of each request: `ridge` are its coefficients; `said` [rows] what those fits say that
    have not seen the row, standardised by `centre` and `spread`; `apart` how far fits to different parts differ."""

    ridge: Floats
    said: Floats
    centre: float
    spread: float
    apart: float

    @property
    def text(self) -> tuple[bytes, float]:
        """Signed bytes of the buckets, and what a step of them is worth."""
        text = self.ridge[:BUCKETS]
        scale = float(np.abs(text).max()) / 127 or 1.0
        return np.round(text / scale).astype(np.int8).tobytes(), scale

    @property
    def structure(self) -> tuple[float, ...]:
        return tuple((self.ridge[BUCKETS : BUCKETS + len(DENSE)] / np.sqrt(len(DENSE))).tolist())


def fit_weights(
    features: Sequence[Features],
    scores: Floats,
    models: Sequence[str],
    *,
    name: str,
    tiers: Mapping[str, str] | None = None,
    seed: int = 0,
    base: Weights | None = None,
) -> Weights:
    """The predictor that these outcomes teach. `scores` [rows, models] 0..1, NaN where a model was not asked; `tiers`
    of the models, where curves of tiers are wanted; `base`: the predictor to set out from."""
    return fit_apart(features, scores, models, name=name, tiers=tiers, seed=seed, base=base)[0]


def fit_apart(
    features: Sequence[Features],
    scores: Floats,
    models: Sequence[str],
    *,
    name: str,
    tiers: Mapping[str, str] | None = None,
    seed: int = 0,
    base: Weights | None = None,
    vectors: Floats | None = None,
) -> tuple[Weights, Floats]:
    """As `fit_weights`, and what `vectors` [rows, dimensions] of the texts add to the contrast, which the weights do
    not hold."""
    matrix = matrix_of(features)
    asked = np.isfinite(scores)
    above = scores - np.nanmean(scores, axis=0)
    strength = _strength(scores)
    hard = _direction(matrix.inputs, -np.nanmean(above, axis=1), seed)
    wide = sparse.csr_matrix(sparse.hstack([matrix.inputs, _scaled(vectors, len(features))]))
    apart = _direction(wide, np.nanmean(above * (strength - strength.mean()), axis=1), seed)
    d = hard.said
    inputs = np.column_stack([np.ones(len(d)), d, np.maximum(d, 0), matrix.dense])
    curves, shared, by_tier = _curves(inputs, scores, {model: (tiers or {}).get(model, "") for model in models})
    said = _chances(inputs, curves)
    share = STEADY / (len(features) + STEADY)
    base = base if share >= LEAST else None
    leaning = Leaning(strength=strength, said=said, shares=(1.0, share)[: 1 + (base is not None)])
    curves, shared = leaning.of_each(curves), leaning.of_all(shared)
    text, scale = hard.text
    weights = Weights(
        format=2,
        name=name,
        trained_on=(name,),
        count=int(asked.sum()),
        text=text,
        text_scale=scale,
        centre=tuple(matrix.centre.tolist()),
        spread=tuple(matrix.spread.tolist()),
        structure=hard.structure,
        d_centre=hard.centre,
        d_spread=hard.spread,
        d_error=hard.apart / hard.spread,
        all=shared,
        tiers={tier: leaning.of_all(curve) for tier, curve in by_tier.items()},
        models=dict(zip(models, curves, strict=True)),
        exemplars=_exemplars(features, scores - said, models, seed),
        shrink=_shrinkage(matrix.text, said, scores, seed),
        contrast=Contrast(*apart.text, apart.structure, apart.centre, apart.spread),
        base=base,
        base_scale=_scale(base, features),
    )
    return weights, apart.ridge[BUCKETS + len(DENSE) :] / _length(vectors) / apart.spread


class Leaning(Struct, frozen=True, kw_only=True, eq=False):
    """How far each model's curve leans on the inputs behind the others: they are averaged with what the curves say, in
    standard deviations of by how much the weakest and the strongest differ, and not fitted once more. `strength`
    [models]; `said` [rows, models]; `shares`: of each input."""

    strength: Floats
    said: Floats
    shares: tuple[float, ...]

    def of_each(self, curves: Sequence[Curve]) -> list[Curve]:
        differ = float((self.said[:, self.strength.argmax()] - self.said[:, self.strength.argmin()]).std())
        slopes = (self.said * (1 - self.said)).mean(axis=0)
        lost = -differ * (1 - self.strength) / np.maximum(slopes, 0.05)
        return [self._longer(curve, float(less)) for curve, less in zip(curves, lost, strict=True)]

    def of_all(self, curve: Curve) -> Curve:
        """Of models whose strength is not known: they do not lean."""
        return self._longer(curve, 0.0)

    def _longer(self, curve: Curve, less: float) -> Curve:
        means = [round(less * share, 4) for share in self.shares]
        return Curve((*curve.mean, *means), (*curve.sd, *[DOUBT] * len(means)), curve.count)


def _strength(scores: Floats) -> Floats:
    """Of each model, by its mean score: 0 the weakest, 1 the strongest."""
    means = np.nanmean(scores, axis=0)
    return (means - means.min()) / (float(np.ptp(means)) or 1.0)


def _length(vectors: Floats | None) -> float:
    """Of a vector, as a rule, once their mean is taken away."""
    return 1.0 if vectors is None else float(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).mean()) or 1.0


def _scaled(vectors: Floats | None, rows: int) -> sparse.csr_matrix:
    """Of about unit length, as the other inputs are. The mean stays in, where the intercept takes it up."""
    return sparse.csr_matrix((rows, 0) if vectors is None else vectors / _length(vectors))


def _scale(base: Weights | None, features: Sequence[Features]) -> tuple[float, float]:
    """What the base's need is standardised by."""
    if base is None:
        return 0.0, 1.0
    predictor = Predictor(base)
    needs = np.array([predictor.need(predictor.see(one)) for one in features])
    return float(needs.mean()), float(needs.std()) or 1.0


def _exemplars(features: Sequence[Features], better: Floats, models: Sequence[str], seed: int) -> tuple[Exemplar, ...]:
    kept = np.random.default_rng(seed).permutation(len(features))[:MOST_EXEMPLARS]
    told = [zip(models, better[i].tolist(), strict=True) for i in kept]
    return tuple(
        Exemplar(features[i].buckets, {model: round(b, 3) for model, b in row if np.isfinite(b)})
        for i, row in zip(kept, told, strict=True)
    )


def _direction(inputs: sparse.csr_matrix, target: Floats, seed: int) -> Direction:
    """Ridge regression, its penalty chosen by cross-validation."""
    fold = np.random.default_rng(seed).permutation(len(target)) % FOLDS
    best: tuple[float, float, list[Floats]] | None = None
    for alpha in ALPHAS:
        fits = [_ridge(inputs[fold != k], target[fold != k], alpha) for k in range(FOLDS)]
        held = np.empty_like(target)
        for k, fit in enumerate(fits):
            held[fold == k] = inputs[fold == k] @ fit
        error = float(np.mean((target - target.mean() - held) ** 2))
        if best is None or error < best[0]:
            best = (error, alpha, fits)
    assert best is not None  # there are penalties  # noqa: S101
    _, alpha, fits = best
    said = np.column_stack([inputs @ fit for fit in fits])
    held = said[np.arange(len(target)), fold]
    others = np.where(np.arange(FOLDS)[None, :] == fold[:, None], np.nan, said)
    centre, spread = float(held.mean()), float(held.std()) or 1.0
    return Direction(
        ridge=_ridge(inputs, target, alpha),
        said=(held - centre) / spread,
        centre=centre,
        spread=spread,
        apart=float(np.nanmean(np.abs(others - held[:, None]))),
    )


def _ridge(inputs: sparse.csr_matrix, target: Floats, alpha: float) -> Floats:
    solved = Ridge(alpha=alpha, solver="sparse_cg", fit_intercept=False, tol=1e-4)
    return np.asarray(solved.fit(inputs, target - target.mean()).coef_, np.float64)


def _curves(inputs: Floats, scores: Floats, tiers: Mapping[str, str]) -> tuple[list[Curve], Curve, dict[str, Curve]]:
    """A curve for each model, shrunk to that of its tier and of all: first alone, then beside the others (empirical
    Bayes: the spread between models is the prior's). `tiers`: of each model, in order; empty: of none."""
    count, width = scores.shape[1], inputs.shape[1]
    wide = np.array([2.0, 1.5, 1.0, *[0.25] * (width - 3)])
    alone = [_logistic(inputs, scores[:, m], np.zeros(width), wide) for m in range(count)]
    means = np.array([mean for mean, _ in alone])
    floor = np.array([0.5, 0.2, 0.2, *[0.03] * (width - 3)])
    centre = means.mean(axis=0)
    spread = np.maximum(means.std(axis=0), floor) if count > 2 else wide / 2
    second = [_logistic(inputs, scores[:, m], centre, spread) for m in range(count)]
    counts = np.isfinite(scores).sum(axis=0)
    curves = [_curve(mean, sd, int(n)) for (mean, sd), n in zip(second, counts, strict=True)]
    groups: dict[str, Curve] = {}
    for tier in sorted(filter(None, set(tiers.values()))):
        mine = np.array([fit[0] for fit, its in zip(second, tiers.values(), strict=True) if its == tier])
        groups[tier] = _curve(mine.mean(axis=0), np.maximum(mine.std(axis=0), floor), len(mine))
    return curves, _curve(centre, np.maximum(spread, floor), count), groups


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
