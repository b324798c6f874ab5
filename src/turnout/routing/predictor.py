"""The chance that a model does a request well, as far as it is known: one difficulty for all models, a curve for each,
and what became of requests that read alike. Plain Python: a prediction is a few hundred additions, and the base install
has no room for numpy. Pure but for what it learns, which stays in memory.

    d     = text . buckets + structure . dense                 how hard a request is, whoever answers it
    logit = b0 + b1 d + b2 max(0, d) + b3 . dense + calibration   b of the model, else of its tier, else of all
    p     = sigmoid(logit) + what requests that read alike differed by, shrunk by how few there are

The shape is that of item response theory (Rasch 1960, two-parameter by Birnbaum 1968) with the item's difficulty
predicted, after the finding that one difficulty fitted on the mean of all models ranks better than a model by itself.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from operator import add, getitem, mul, sub, truediv
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.errors import ConfigError
from turnout.routing.features import BUCKETS, DENSE, Features
from turnout.routing.neighbours import Neighbours
from turnout.routing.outcomes import Outcome

__all__ = ["FORMAT", "Curve", "Exemplar", "Prediction", "Predictor", "Weights", "neighbours_of"]

FORMAT = 1

SHARPNESS = 10.0
"""Weights of neighbours fall with exp(SHARPNESS (cosine - 1))."""

UNIT = math.exp(SHARPNESS * (0.3 - 1))
"""What a neighbour of cosine 0.3 weighs: `Weights.shrink` counts in these."""

APART = 0.1
"""How far a model's chance on some kind of request is from its curve. Assumed."""

ELSEWHERE = 1.0
"""By how much (log-odds, a standard deviation) the success of a tier differs from one traffic to another: a table's
questions are not one's own, and what a tier did there must not outweigh a hundred outcomes here. Assumed."""

MOST_EXEMPLARS = 2_000
LEARNED_ROWS = 512
"""Outcomes of one's own traffic that are kept as exemplars, beside those of the file."""

SOME_UNTOLD, MOST_UNTOLD = 4, 32
"""Outcomes that wait to be learned from: until nobody waits for it, and at most. Whoever asks before waits for them,
some 50 us each."""

Z90 = 1.645
"""One-sided 95 %, so that both bounds make an interval of 90 %."""

FORGETTING = 0.998
"""Per outcome of a model: half of what it said counts after some 350 outcomes, so that a model that was changed under
its name is seen as it is (recursive estimation with exponential forgetting)."""

FALL = 1.5
"""In log-odds: what is looked out for, as from 95 to 81 or from 80 to 47 %."""

SURE = math.log(5_000)
"""A model that is as it was is taken for fallen once in so many outcomes at most (Lorden 1971)."""

SETTLED = 50
"""Outcomes from which a model's own chance is known well enough that it can be seen to fall."""

FARTHEST = 4.0
"""An input beyond so many standard deviations is taken for one that far off."""

_CLIP = 30.0


def neighbours_of(exemplars: int) -> int:
    """How many are looked at among so many."""
    return min(40, 10 + exemplars // 40)


class Curve(Struct, frozen=True, array_like=True):
    """How one model's chance depends on the difficulty: `mean` and `sd` of each coefficient [1, d, max(0, d), *DENSE],
    from `count` outcomes."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    count: int = 0


class Exemplar(Struct, frozen=True, array_like=True):
    """A request whose outcomes are known: by how much each model did better than its curve says."""

    buckets: tuple[int, ...]
    better: dict[str, float]


class Weights(Struct, frozen=True, kw_only=True):
    """One version of a predictor. `text` holds a signed byte a bucket, in steps of `text_scale`. `tiers` and `all` are
    the curves that a model without one begins with. `platt`: slope and offset that `count` held-out outcomes call for.
    `error`: the calibration error on them. `keeps`: pairs of a quality and the highest `Predictor.need` up to which a
    small model kept that share of the larger's success, on requests that the exemplars were not taken from."""

    format: int = FORMAT
    name: str = ""
    trained_on: tuple[str, ...] = ()
    count: int = 0
    text: bytes = bytes(BUCKETS)
    text_scale: float = 0.0
    centre: tuple[float, ...] = (0.0,) * len(DENSE)
    spread: tuple[float, ...] = (1.0,) * len(DENSE)
    structure: tuple[float, ...] = (0.0,) * len(DENSE)
    d_centre: float = 0.0
    d_spread: float = 1.0
    d_error: float = 0.5
    all: Curve = Curve((0.0,) * (3 + len(DENSE)), (1.5, 0.5, 0.5, *(0.05,) * len(DENSE)))
    tiers: dict[str, Curve] = {}
    models: dict[str, Curve] = {}
    exemplars: tuple[Exemplar, ...] = ()
    shrink: float = 10.0
    platt: tuple[float, float] = (1.0, 0.0)
    error: float | None = None
    keeps: tuple[tuple[float, float], ...] = ()

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Weights:
        """Raises ConfigError."""
        try:
            weights = msgspec.msgpack.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"this is no predictor file ({error}); write one with turnout train") from None
        if weights.format != FORMAT or len(weights.text) != BUCKETS or len(weights.centre) != len(DENSE):
            raise ConfigError("the predictor file is of another version of turnout; write it again with turnout train")
        return weights


class Prediction(NamedTuple):
    """Chance of success 0..1, and bounds that hold it nine times in ten, as far as the model of it is right."""

    success: float
    low: float
    high: float


class _Posterior(Struct):
    """What is believed of one model now: coefficients, and a covariance that is diagonal but for one direction, that of
    the requests so far. Requests of one's own traffic are alike: their outcomes tell the sum of the coefficients there
    and little of each, which a diagonal takes for knowing nothing (with 38 inputs, six times too wide).

        covariance = (1 / prior + scatter + known centre centre^T)^-1 = E - k (E centre) (E centre)^T

    by Sherman and Morrison, with E = 1 / (1 / prior + scatter), and k = known / (1 + known centre^T E centre).
    `known`: information that all outcomes had together, `centre` the mean of their inputs, `scatter` what it varied."""

    mean: list[float]
    prior: list[float]
    variance: list[float]
    scatter: list[float]
    centre: list[float]
    lean: list[float]
    known: float = 0.0
    k: float = 0.0
    count: int = 0
    fallen: float = 0.0

    @classmethod
    def of(cls, curve: Curve) -> _Posterior:
        prior, nothing = [sd * sd for sd in curve.sd], [0.0] * len(curve.sd)
        return cls(list(curve.mean), prior, list(prior), list(nothing), list(nothing), list(nothing))

    def doubt(self, x: Sequence[float], squares: Sequence[float]) -> float:
        """The variance of the logit at `x`, whose squares are `squares`."""
        wide = sum(map(mul, self.variance, squares))
        return max(0.0, wide - self.k * sum(map(mul, self.lean, x)) ** 2)

    def falls(self, p: float, score: float, weight: float) -> bool:
        """Whether it is no more what it was: Page's cumulative sum of log-likelihood ratios, the quickest test there is
        for a known change (Moustakides 1986). `p` was expected of this outcome."""
        if self.count < SETTLED:
            return False
        p = _bounded(p)
        q = _sigmoid(math.log(p / (1 - p)) - FALL)
        told = score * math.log(q / p) + (1 - score) * math.log((1 - q) / (1 - p))
        self.fallen = max(0.0, self.fallen + weight * told)
        return self.fallen > SURE

    def learn(self, x: Sequence[float], information: float, error: float) -> None:
        """One outcome: `information` p (1 - p), and by how much it was better than expected, both weighted."""
        self.known = FORGETTING * self.known + information
        share = information / self.known if self.known else 0.0
        offs = list(map(sub, x, self.centre))
        self.centre = list(map(add, self.centre, _times(share, offs)))
        spread = map(mul, offs, map(sub, x, self.centre))
        self.scatter = list(map(add, _times(FORGETTING, self.scatter), _times(information, spread)))
        # prior / (1 + prior scatter)
        self.variance = list(map(truediv, self.prior, map(add, repeat(1.0), map(mul, self.prior, self.scatter))))
        self.lean = list(map(mul, self.variance, self.centre))
        self.k = self.known / (1 + self.known * sum(map(mul, self.lean, self.centre)))
        along = self.k * sum(map(mul, self.lean, x))
        told = map(sub, map(mul, self.variance, x), _times(along, self.lean))
        self.mean = list(map(add, self.mean, _times(error, told)))
        self.count += 1


class _Told(Struct):
    """An outcome of one's own traffic. By how much it was better than its curve is asked when that is needed: the curve
    has taken it in meanwhile, and it must not count twice. `better` is what it was when its model had `at` outcomes."""

    model: str
    score: float
    x: tuple[float, ...]
    weight: float
    better: float = 0.0
    at: int = -1

    def than(self, now: _Posterior) -> float:
        """By how much it was better than its curve as that is now."""
        if self.at != now.count:
            self.better, self.at = self.score - _sigmoid(sum(map(mul, self.x, now.mean))), now.count
        return self.better


class _Mean(NamedTuple):
    """A weighted mean: the weighted sum, the sum of weights, and that of their squares."""

    total: float = 0.0
    weights: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, told: Iterable[tuple[float, float]]) -> _Mean:
        """Of values with their weights."""
        total = weights = squares = 0.0
        for value, weight in told:
            total += weight * value
            weights += weight
            squares += weight * weight
        return cls(total, weights, squares)

    def shrunk(self, prior: float, p: float) -> tuple[float, float]:
        """The mean beside a prior of 0 that weighs `prior`, and its standard error for outcomes of chance `p`."""
        if not self.weights:
            return 0.0, 0.0
        whole = self.weights + prior
        return self.total / whole, math.sqrt(p * (1 - p) * self.squares) / whole


class Seen(NamedTuple):
    """A request, prepared once for all models: `x` are the inputs of a curve and `squares` theirs, `near` weights of
    exemplars; of these `file` is what the file knows and `own` one's own traffic, by model. `means` of the file and
    `predictions` are kept as they come to be asked for: models of a tier of which nothing else is known share them."""

    difficulty: float
    x: tuple[float, ...]
    squares: tuple[float, ...]
    near: Sequence[tuple[int, float]]
    file: Sequence[tuple[dict[str, float], float]]
    own: Mapping[str, Sequence[tuple[_Told, float]]]
    means: dict[tuple[str, str], _Mean]
    predictions: dict[tuple[str, str], Prediction]


class Predictor:
    """Predicts, and learns from outcomes. One event loop owns it."""

    def __init__(self, weights: Weights, tiers: Mapping[str, str] | None = None, *, source: str = "") -> None:
        """`tiers`: the tier of each model that may be asked for; a tier's own name stands for any model of it.
        `source` names the file that the weights are from."""
        self.source = source
        # The exemplars are kept as their neighbours are looked for: as they come they take megabytes.
        self.weights = replace(weights, exemplars=())
        # 128 more in each byte: the sum of small positive integers is the fastest there is.
        self._text = bytes(step + 128 for step in memoryview(weights.text).cast("b"))
        self.tiers = dict(tiers or {})
        self._models: dict[str, _Posterior] = {}
        self._better: list[dict[str, float] | _Told] = [
            exemplar.better for exemplar in weights.exemplars[:MOST_EXEMPLARS]
        ]
        self._buckets = tuple(exemplar.buckets for exemplar in weights.exemplars[:MOST_EXEMPLARS])
        self._first = self._next = len(self._better)
        # Whom the exemplars of the file tell of by name.
        self._named = frozenset(name for known in self._better if not isinstance(known, _Told) for name in known)
        self._untold: list[Outcome] = []
        # What a model begins with, by model or tier.
        self._begun: dict[str, _Posterior] = {}

    @cached_property
    def _near(self) -> Neighbours:
        kept, self._buckets = self._buckets, ()
        return Neighbours(kept)

    def prepare(self) -> None:
        """Make what requests are compared with: some 30 ms, which else the first one that needs it waits for. A gateway
        whose callers name their models never does."""
        len(self._near)

    def see(self, features: Features) -> Seen:
        """What all predictions of a request share."""
        if self._untold:
            self._learn()
        d, x = self._inputs(features)
        near = [
            (number, math.exp(SHARPNESS * (cosine - 1)))
            for number, cosine in self._near.near(features.buckets, neighbours_of(len(self._near)))
        ]
        # In the order of their numbers: those of the file first.
        behind = bisect_left(near, (self._first,))
        file = [(known, weight) for number, weight in near[:behind] if isinstance(known := self._better[number], dict)]
        own: dict[str, list[tuple[_Told, float]]] = {}
        for number, weight in near[behind:]:
            if isinstance(known := self._better[number], _Told):
                own.setdefault(known.model, []).append((known, weight))
        return Seen(d, x, tuple(map(mul, x, x)), near, file, own, {}, {})

    def predict(self, seen: Seen, model: str) -> Prediction:
        """The chance that `model` (a deployment's id, or a name of the table it was trained on) does it well."""
        if self._untold:
            self._learn()
        known = model in self._models or model in self._named or model in self.weights.models
        asked = model if known else "", self.tiers.get(model, model)
        if (found := seen.predictions.get(asked)) is None:
            found = seen.predictions[asked] = self._predicted(seen, model)
        return found

    def need(self, seen: Seen, weak: str = "small", strong: str = "mid") -> float:
        """By how much a strong model's chance is above a weak one's: names of models, or of tiers."""
        return self.predict(seen, strong).success - self.predict(seen, weak).success

    def simple(self, seen: Seen, quality: float) -> bool:
        """Whether a small model keeps `quality` (0..1) of a larger one's success on requests like this, as far as the
        file's outcomes tell. False where they tell nothing."""
        enough = [need for kept, need in self.weights.keeps if kept >= quality]
        return bool(enough) and self.need(seen) <= max(enough)

    def observe(self, outcome: Outcome) -> None:
        """Learn from one outcome, at the latest when somebody asks: of the outcomes of a session's steps hardly anybody
        does before the next session, and several at once take less time than one by one."""
        if outcome.features:
            self._untold.append(outcome)
            if len(self._untold) >= MOST_UNTOLD:
                self._learn()

    def catch_up(self) -> None:
        """Learn from the outcomes that wait, where they are some: nobody waits for it now."""
        if len(self._untold) >= SOME_UNTOLD:
            self._learn()

    def _learn(self) -> None:
        """From all outcomes that wait."""
        untold, self._untold = self._untold, []
        for outcome in untold:
            self._take(outcome)

    def _take(self, outcome: Outcome) -> None:
        """A step of assumed-density filtering for logistic regression (MacKay 1992; with a diagonal Chapelle and Li,
        NeurIPS 2011). No neighbours are looked for: that is most of the time that a prediction takes."""
        try:
            features = Features.unpack(outcome.features)
        except msgspec.MsgspecError:
            return  # of another version: it says nothing any more
        _, x = self._inputs(features)
        if (now := self._models.get(outcome.model)) is None:
            now = self._models[outcome.model] = self._beginning(outcome.model)
        p = _sigmoid(sum(map(mul, x, now.mean)))
        if now.falls(p, outcome.score, outcome.weight):
            now = self._forget(outcome.model)
            p = _sigmoid(sum(map(mul, x, now.mean)))
        now.learn(x, outcome.weight * p * (1 - p), outcome.weight * (outcome.score - p))
        self._keep(features, _Told(outcome.model, outcome.score, x, outcome.weight))

    @property
    def exemplars(self) -> int:
        """Requests with known outcomes that it compares with."""
        if self._untold:
            self._learn()
        return len(self._better)

    def count(self, model: str) -> int:
        """Outcomes of the model that are known, the file's and those learned since."""
        if self._untold:
            self._learn()
        found, taught = self._models.get(model), self.weights.models.get(model)
        return (found.count if found else 0) + (taught.count if taught else 0)

    def _prior(self, model: str) -> Curve:
        weights = self.weights
        return weights.models.get(model) or weights.tiers.get(self.tiers.get(model, model)) or weights.all

    def _predicted(self, seen: Seen, model: str) -> Prediction:
        now = self._posterior(model)
        logit = sum(map(mul, seen.x, now.mean))
        slope = now.mean[1] + (now.mean[2] if seen.difficulty > 0 else 0.0)
        doubt = math.sqrt(now.doubt(seen.x, seen.squares) + (slope * self.weights.d_error) ** 2)
        a, b = self.weights.platt
        alike, apart = self._alike(seen, model, now, _sigmoid(logit))
        middle = _sigmoid(a * logit + b)
        # What the curve and the neighbours are off by has nothing to do with each other.
        below = math.hypot(middle - _sigmoid(a * (logit - Z90 * doubt) + b), Z90 * apart)
        above = math.hypot(_sigmoid(a * (logit + Z90 * doubt) + b) - middle, Z90 * apart)
        success = middle + alike
        return Prediction(_bounded(success), _bounded(success - below), _bounded(success + above))

    def _posterior(self, model: str) -> _Posterior:
        if (found := self._models.get(model)) is None:
            # Names come from callers: what is kept is kept by those of the file.
            tier = self.tiers.get(model, model)
            name = model if model in self.weights.models else tier if tier in self.weights.tiers else ""
            if (found := self._begun.get(name)) is None:
                found = self._begun[name] = self._beginning(model)
        return found

    def _beginning(self, model: str) -> _Posterior:
        """What is believed of a model of which no outcome was seen here."""
        found = _Posterior.of(self._prior(model))
        if model not in self.weights.models:
            found.prior[0] += ELSEWHERE**2
            found.variance[0] = found.prior[0]
        return found

    def _forget(self, model: str) -> _Posterior:
        """Under this name there is another model now: what was learned of it here says nothing any more."""
        self._better = [{} if isinstance(b, _Told) and b.model == model else b for b in self._better]
        now = self._models[model] = self._beginning(model)
        return now

    def _inputs(self, features: Features) -> tuple[float, tuple[float, ...]]:
        """The difficulty of a request, and the inputs of a curve."""
        weights = self.weights
        off = map(truediv, map(sub, features.dense, weights.centre), weights.spread)
        dense = [value if -FARTHEST < value < FARTHEST else max(-FARTHEST, min(FARTHEST, value)) for value in off]
        steps = sum(map(getitem, repeat(self._text), features.buckets)) - 128 * len(features.buckets)
        d = features.weight * weights.text_scale * steps
        d += sum(map(mul, dense, weights.structure))
        d = (d - weights.d_centre) / weights.d_spread
        return d, (1.0, d, max(0.0, d), *dense)

    def _alike(self, seen: Seen, model: str, now: _Posterior, p: float) -> tuple[float, float]:
        """By how much this model did better than its curve, whose chance is `p`, on what reads alike, and the standard
        error of that; nothing where nothing does. The file's outcomes, and what one's own traffic showed: single
        outcomes, shrunk by how much chance alone would have them differ (empirical Bayes)."""
        told, apart = self._filed(seen, model).shrunk(self.weights.shrink * UNIT, p)
        if (rows := seen.own.get(model)) is None:
            return told, apart
        own = _Mean.of([(row.than(now), weight * row.weight) for row, weight in rows])
        mine, error = own.shrunk(self.weights.shrink * UNIT, p)
        held = APART**2 / (APART**2 + error**2)
        return told + held * mine, math.hypot(apart, held * error)

    def _filed(self, seen: Seen, model: str) -> _Mean:
        """What the file says of a model, else of its tier: models of one tier that it does not name share that."""
        tier = self.tiers.get(model, model)
        name = model if model in self._named else tier
        if (found := seen.means.get((name, tier))) is None:
            told = [(known.get(name, known.get(tier)), weight) for known, weight in seen.file]
            found = seen.means[name, tier] = _Mean.of([(better, w) for better, w in told if better is not None])
        return found

    def _keep(self, features: Features, told: _Told) -> None:
        """In a ring behind the exemplars of the file."""
        if self._next >= self._first + LEARNED_ROWS:
            self._next = self._first
        self._better[self._next : self._next + 1] = [told]
        self._near.put(self._next, features.buckets)
        self._next += 1


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if -_CLIP < x < _CLIP else 1 / (1 + math.exp(-math.copysign(_CLIP, x)))


def _times(factor: float, values: Iterable[float]) -> Iterable[float]:
    return map(mul, repeat(factor), values)


def _bounded(p: float) -> float:
    return p if 0.001 <= p <= 0.999 else min(0.999, max(0.001, p))
