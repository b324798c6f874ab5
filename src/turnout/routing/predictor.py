"""The chance that a model does a request well, as far as it is known: one difficulty for all models, a curve for each,
and what became of requests that read alike. Plain Python: a prediction is a few hundred additions, and the base install
has no room for numpy. Pure but for what it learns, which stays in memory.

    d     = text . buckets + structure . dense                 how hard a request is, whoever answers it
    logit = b0 + b1 d + b2 max(0, d) + b3 . dense + calibration   b of the model, else of its tier, else of all
            (and where the file has them: + b4 what tells strong models from weak + b5 what the base thinks)
    p     = sigmoid(logit) + what requests that read alike differed by, shrunk by how few there are

The shape is that of item response theory (Rasch 1960, two-parameter by Birnbaum 1968) with the item's difficulty
predicted, after the finding that one difficulty fitted on the mean of all models ranks better than a model by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import NamedTuple

import msgspec
from msgspec import Struct

from turnout.errors import ConfigError
from turnout.routing.features import BUCKETS, DENSE, Features
from turnout.routing.outcomes import Outcome

__all__ = ["FORMATS", "Contrast", "Curve", "Exemplar", "Prediction", "Predictor", "Seen", "Weights", "neighbours_of"]

FORMATS = (1, 2)
"""Read: 2 has further inputs of its curves (`Weights.contrast`, `Weights.base`), which who reads 1 alone would drop."""

SHARPNESS = 10.0
"""Weights of neighbours fall with exp(SHARPNESS (cosine - 1))."""

UNIT = math.exp(SHARPNESS * (0.3 - 1))
"""What a neighbour of cosine 0.3 weighs: `Weights.shrink` counts in these."""

APART = 0.1
"""How far a model's chance on some kind of request is from its curve. Assumed."""

FOLDED = 2_048
"""Bits that a request's buckets are folded into where it is compared: an AND and a count of bits."""

MOST_EXEMPLARS = 2_000
LEARNED_ROWS = 512
"""Outcomes of one's own traffic that are kept as exemplars, beside those of the file."""

Z90 = 1.645
"""One-sided 95 %, so that both bounds make an interval of 90 %."""

FORGETTING = 0.998
"""Per outcome of a model: half of what it said counts after some 350 outcomes, so that a model that was changed under
its name is seen as it is (recursive estimation with exponential forgetting)."""

_CLIP = 30.0


def neighbours_of(exemplars: int) -> int:
    """How many are looked at among so many."""
    return min(40, 10 + exemplars // 40)


class Curve(Struct, frozen=True, array_like=True):
    """How one model's chance depends on the difficulty: `mean` and `sd` of each coefficient [1, d, max(0, d), *DENSE]
    (and, where the file has them, of the contrast and of the base's need), from `count` outcomes."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    count: int = 0


class Exemplar(Struct, frozen=True, array_like=True):
    """A request whose outcomes are known: by how much each model did better than its curve says."""

    buckets: tuple[int, ...]
    better: dict[str, float]


class Contrast(Struct, frozen=True, array_like=True):
    """What tells strong models from weak ones, which is not the same as what is hard for all: the signed bytes, steps
    and structure of a second difficulty, and what it is standardised by."""

    text: bytes
    text_scale: float
    structure: tuple[float, ...]
    centre: float
    spread: float


class Weights(Struct, frozen=True, kw_only=True):
    """One version of a predictor. `text` holds a signed byte a bucket, in steps of `text_scale`. `tiers` and `all` are
    the curves that a model without one begins with. `platt`: slope and offset that `count` held-out outcomes call for.
    `error`: the calibration error on them. `keeps`: pairs of a quality and the highest `Predictor.need` up to which a
    small model kept that share of the larger's success, on requests that the exemplars were not taken from. `base`: the
    predictor that this one set out from; its need, standardised by `base_scale` (centre, spread), is an input."""

    format: int = 1
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
    contrast: Contrast | None = None
    base: Weights | None = None
    base_scale: tuple[float, float] = (0.0, 1.0)

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Weights:
        """Raises ConfigError."""
        try:
            weights = msgspec.msgpack.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"this is no predictor file ({error}); write one with turnout train") from None
        if weights.format not in FORMATS or len(weights.text) != BUCKETS or len(weights.centre) != len(DENSE):
            raise ConfigError("the predictor file is of another version of turnout; write it again with turnout train")
        return weights


class Prediction(NamedTuple):
    """Chance of success 0..1, and bounds that hold it nine times in ten, as far as the model of it is right."""

    success: float
    low: float
    high: float


class _Posterior(Struct):
    """What is believed of one model now: coefficients and their variances, independent."""

    mean: list[float]
    variance: list[float]
    count: int = 0


class _Told(NamedTuple):
    """An outcome of one's own traffic. By how much it was better than its curve is asked when that is needed: the curve
    has taken it in meanwhile, and it must not count twice."""

    model: str
    score: float
    x: tuple[float, ...]
    weight: float


class _Mean(Struct):
    """A weighted mean as it comes together."""

    total: float = 0.0
    weights: float = 0.0
    squares: float = 0.0

    def add(self, value: float, weight: float) -> None:
        self.total += weight * value
        self.weights += weight
        self.squares += weight * weight

    def shrunk(self, prior: float, p: float) -> tuple[float, float]:
        """The mean beside a prior of 0 that weighs `prior`, and its standard error for outcomes of chance `p`."""
        if not self.weights:
            return 0.0, 0.0
        whole = self.weights + prior
        return self.total / whole, math.sqrt(p * (1 - p) * self.squares) / whole


class Seen(NamedTuple):
    """A request, prepared once for all models: `x` are the inputs of a curve, `near` weights of exemplars."""

    difficulty: float
    x: tuple[float, ...]
    near: Sequence[tuple[int, float]]


class Predictor:
    """Predicts, and learns from outcomes. One event loop owns it."""

    def __init__(self, weights: Weights, tiers: Mapping[str, str] | None = None) -> None:
        """`tiers`: the tier of each model that may be asked for; a tier's own name stands for any model of it."""
        self.weights = weights
        self._text = [step * weights.text_scale for step in memoryview(weights.text).cast("b")]
        told = weights.contrast
        self._contrast = [step * told.text_scale for step in memoryview(told.text).cast("b")] if told else None
        self._base = Predictor(weights.base) if weights.base else None
        self.tiers = dict(tiers or {})
        self._models: dict[str, _Posterior] = {}
        self._better: list[dict[str, float] | _Told] = [
            exemplar.better for exemplar in weights.exemplars[:MOST_EXEMPLARS]
        ]
        self._folded = [folded(exemplar.buckets) for exemplar in weights.exemplars[:MOST_EXEMPLARS]]
        self._first = self._next = len(self._folded)

    def see(self, features: Features) -> Seen:
        """What all predictions of a request share."""
        weights = self.weights
        dense = [
            max(-4.0, min(4.0, (value - centre) / spread))
            for value, centre, spread in zip(features.dense, weights.centre, weights.spread, strict=True)
        ]
        text = self._text
        d = features.weight * sum([text[bucket] for bucket in features.buckets])
        d += sum(map(mul, dense, weights.structure))
        d = (d - weights.d_centre) / weights.d_spread
        return Seen(d, (1.0, d, max(0.0, d), *dense, *self._further(features, dense)), self._near(features))

    def predict(self, seen: Seen, model: str) -> Prediction:
        """The chance that `model` (a deployment's id, or a name of the table it was trained on) does it well."""
        now = self._posterior(model)
        x = seen.x
        logit = sum(map(mul, x, now.mean))
        slope = now.mean[1] + (now.mean[2] if seen.difficulty > 0 else 0.0)
        doubt = math.sqrt(
            sum([v * value * value for v, value in zip(now.variance, x, strict=True)])
            + (slope * self.weights.d_error) ** 2
        )
        a, b = self.weights.platt
        alike, apart = self._alike(seen, model, now.mean)
        success = _bounded(_sigmoid(a * logit + b) + alike)
        low = _bounded(_sigmoid(a * (logit - Z90 * doubt) + b) + alike - Z90 * apart)
        high = _bounded(_sigmoid(a * (logit + Z90 * doubt) + b) + alike + Z90 * apart)
        return Prediction(success, low, high)

    def need(self, seen: Seen, weak: str = "small", strong: str = "mid") -> float:
        """By how much a strong model's chance is above a weak one's: names of models, or of tiers."""
        return self.predict(seen, strong).success - self.predict(seen, weak).success

    def simple(self, seen: Seen, quality: float) -> bool:
        """Whether a small model keeps `quality` (0..1) of a larger one's success on requests like this, as far as the
        file's outcomes tell. False where they tell nothing."""
        return any(kept >= quality and self.need(seen) <= need for kept, need in self.weights.keeps)

    def observe(self, outcome: Outcome) -> None:
        """Learn from one outcome: a step of assumed-density filtering for logistic regression with a diagonal
        covariance (MacKay 1992; the update of Chapelle and Li, NeurIPS 2011), variances inflated by `FORGETTING`."""
        if not outcome.features:
            return
        try:
            features = Features.unpack(outcome.features)
        except msgspec.MsgspecError:
            return  # of another version: it says nothing any more
        seen = self.see(features)
        now = self._models[outcome.model] = self._posterior(outcome.model)
        p = _sigmoid(sum(map(mul, seen.x, now.mean)))
        prior = self._prior(outcome.model)
        certainty = outcome.weight * p * (1 - p)
        spread = sum([v * value * value for v, value in zip(now.variance, seen.x, strict=True)])
        step = outcome.weight * (outcome.score - p) / (1 + certainty * spread)
        for i, value in enumerate(seen.x):
            if value:
                now.mean[i] += now.variance[i] * value * step
                now.variance[i] /= 1 + certainty * now.variance[i] * value * value
            now.variance[i] = min(prior.sd[i] ** 2, now.variance[i] / FORGETTING)
        now.count += 1
        self._keep(features, _Told(outcome.model, outcome.score, seen.x, outcome.weight))

    @property
    def exemplars(self) -> int:
        """Requests with known outcomes that it compares with."""
        return len(self._folded)

    def count(self, model: str) -> int:
        """Outcomes of the model that are known, the file's and those learned since."""
        found, taught = self._models.get(model), self.weights.models.get(model)
        return (found.count if found else 0) + (taught.count if taught else 0)

    def _further(self, features: Features, dense: Sequence[float]) -> list[float]:
        """The inputs that a file of format 2 has behind the others: the contrast, the need that the base sees."""
        weights, found = self.weights, list[float]()
        if (text := self._contrast) and (told := weights.contrast):
            apart = features.weight * sum([text[bucket] for bucket in features.buckets])
            found.append((apart + sum(map(mul, dense, told.structure)) - told.centre) / told.spread)
        if self._base:
            centre, spread = weights.base_scale
            found.append((self._base.need(self._base.see(features)) - centre) / spread)
        return found

    def _prior(self, model: str) -> Curve:
        weights = self.weights
        return weights.models.get(model) or weights.tiers.get(self.tiers.get(model, model)) or weights.all

    def _posterior(self, model: str) -> _Posterior:
        if (found := self._models.get(model)) is None:
            prior = self._prior(model)
            # Not kept until it learns: names come from callers.
            found = _Posterior(list(prior.mean), [sd * sd for sd in prior.sd])
        return found

    def _near(self, features: Features) -> Sequence[tuple[int, float]]:
        """The exemplars that read most alike, and what each weighs by the cosine of the buckets."""
        mine, size = folded(features.buckets)
        cosines = [(mine & bits).bit_count() / size_of for bits, size_of in self._folded]
        count = min(neighbours_of(len(cosines)), len(cosines))
        if not count:
            return []
        least = sorted(cosines)[-count]
        near = [number for number, cosine in enumerate(cosines) if cosine > least]
        # Of those that are equally near, the newest.
        ties = [number for number, cosine in enumerate(cosines) if cosine == least]
        near += ties[len(near) - count :]
        return [(number, math.exp(SHARPNESS * (cosines[number] / size - 1))) for number in near]

    def _alike(self, seen: Seen, model: str, mean: Sequence[float]) -> tuple[float, float]:
        """By how much this model did better than its curve on what reads alike, and the standard error of that; nothing
        where nothing does. The file's outcomes, and what one's own traffic showed: single outcomes, shrunk by how much
        chance alone would have them differ (empirical Bayes)."""
        tier = self.tiers.get(model, model)
        file, own = _Mean(), _Mean()
        for number, weight in seen.near:
            known = self._better[number]
            if isinstance(known, _Told):
                if known.model == model:
                    own.add(known.score - _sigmoid(sum(map(mul, known.x, mean))), weight * known.weight)
            elif (better := known.get(model, known.get(tier))) is not None:
                file.add(better, weight)
        p = _sigmoid(sum(map(mul, seen.x, mean)))
        told, apart = file.shrunk(self.weights.shrink * UNIT, p)
        mine, error = own.shrunk(self.weights.shrink * UNIT, p)
        held = APART**2 / (APART**2 + error**2)
        return told + held * mine, math.hypot(apart, held * error)

    def _keep(self, features: Features, told: _Told) -> None:
        """In a ring behind the exemplars of the file."""
        if self._next >= self._first + LEARNED_ROWS:
            self._next = self._first
        kept = slice(self._next, self._next + 1)
        self._better[kept], self._folded[kept] = [told], [folded(features.buckets)]
        self._next += 1


def folded(buckets: Sequence[int]) -> tuple[int, float]:
    """The buckets as one number of `FOLDED` bits, and the length of that vector."""
    bits = bytearray(FOLDED // 8)
    for bucket in buckets:
        bits[bucket >> 3 & FOLDED // 8 - 1] |= 1 << (bucket & 7)
    number = int.from_bytes(bits, "little")
    return number, math.sqrt(number.bit_count()) or 1.0


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(-_CLIP, min(_CLIP, x))))


def _bounded(p: float) -> float:
    return min(0.999, max(0.001, p))
