"""Whether what was learned still holds: predictions off the mark, falling success, requests of another kind. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from turnout.routing.outcomes import Outcome, Source

__all__ = [
    "ENOUGH",
    "MOST_ERROR",
    "MOST_SHIFT",
    "SHIFT_WINDOW",
    "WINDOW",
    "Alarm",
    "Drift",
    "Falling",
    "ModelDrift",
    "Shift",
    "Standing",
    "calibration_error",
    "chance_error",
    "stability_index",
]

WINDOW = 200
"""Outcomes of a model that are looked back on."""

ENOUGH = 100
"""Before so many, nothing is said of calibration."""

BINS = 10

MOST_ERROR = 0.10
"""Calibration error from which predictions mislead: twice what the predictor is built to keep."""

MOST_SHIFT = 0.25
"""Population stability index from which a population is another one: the usual rule of credit scoring (Siddiqi, Credit
Risk Scorecards, 2006)."""

SHIFT_WINDOW = 500
"""Requests of each window: with ten bins, equal populations differ by about 0.04."""

TOLERANCE, THRESHOLD = 0.1, 10.0
"""Of the Page-Hinkley test: a fall by less than the first goes untold; the second is how much must have gathered.
Success that falls from 0.9 to 0.5 is told after about 35 outcomes of weight 1; tests/routing/test_drift.py has the
false alarms."""

MEASURES: frozenset[Source] = frozenset({"feedback", "probe", "judge", "schema", "session"})
"""Who says yes and no alike. Others speak only when it went well (tests turned green) or badly (an escalation), or of
less than success (a tool took the call): held against a predicted chance of success they would always be off."""

CHECKED_EVERY = 10
"""Outcomes: calibration over a window takes a quarter of a millisecond and changes slowly."""

SHOWN = timedelta(hours=24)
"""How long an alarm is shown after it was last raised."""

MOST_MODELS = 500

Kind = Literal["calibration", "success", "features"]


class Alarm(Struct, frozen=True, kw_only=True):
    """What of a model is not as it was, in a sentence; `at` is UTC."""

    model: str
    kind: Kind
    why: str
    at: datetime


class Standing(Struct, frozen=True, kw_only=True):
    """How a model fares in its window. `outcomes` in it; `observed` and `predicted` success are weighted means, the
    latter None where nobody predicted; `calibration_error` None before `ENOUGH` outcomes that measure success, of which
    there are `measured`; `shift`: the largest stability index of a feature, None before two windows of requests."""

    model: str
    outcomes: int
    measured: int
    observed: float | None
    predicted: float | None
    calibration_error: float | None
    shift: float | None
    alarms: tuple[Alarm, ...]


Point = tuple[float, float, float]
"""Predicted, observed, weight."""


def calibration_error(points: Iterable[Point], bins: int = BINS) -> float:
    """Expected calibration error with bins of equal width (Naeini et al. 2015; Guo et al. 2017), outcomes weighted: the
    mean distance of what was predicted from what came. 0 for no outcome."""
    off, weights = _binned(points, bins), 0.0
    total = 0.0
    for gap, weight, _ in off:
        total += abs(gap)
        weights += weight
    return total / weights if weights else 0.0


def chance_error(points: Iterable[Point], bins: int = BINS) -> float:
    """The calibration error that perfect predictions would show in as few outcomes, by chance alone: of each bin the
    mean of a normal distribution's absolute value."""
    total = weights = 0.0
    for _, weight, variance in _binned(points, bins):
        total += math.sqrt(2 / math.pi * variance)
        weights += weight
    return total / weights if weights else 0.0


def _binned(points: Iterable[Point], bins: int) -> list[tuple[float, float, float]]:
    """Of each bin: the weighted sum of (predicted - observed), the weight, and that sum's variance if predictions were
    perfect and outcomes yes or no."""
    found = [(0.0, 0.0, 0.0)] * bins
    for predicted, observed, weight in points:
        index = min(bins - 1, max(0, int(predicted * bins)))
        gap, weights, variance = found[index]
        found[index] = (
            gap + weight * (predicted - observed),
            weights + weight,
            variance + weight * weight * max(0.0, predicted * (1 - predicted)),
        )
    return found


class Falling:
    """The Page-Hinkley test for a falling mean (Page 1954, Hinkley 1971; as in Gama et al., A Survey on Concept Drift
    Adaptation, 2014): how far the sum of deviations below the mean so far, less a tolerance, has risen above its
    lowest. Each source is held against its own mean, what was predicted apart from what was not: that more of them
    speak, or that somebody begins to predict, is no drift."""

    def __init__(self) -> None:
        self._means: dict[tuple[Source, bool], tuple[float, float]] = {}
        self._gathered = 0.0

    def feed(self, source: Source, score: float, weight: float, predicted: float | None = None) -> bool:
        """One more score, less what was predicted of it; True when the mean has fallen. Then it begins anew."""
        kind: tuple[Source, bool] = source, predicted is not None
        value = score - (predicted or 0.0)
        weights, mean = self._means.get(kind, (0.0, 0.0))
        weights += weight
        mean += (value - mean) * weight / weights if weights else 0.0
        self._means[kind] = weights, mean
        self._gathered = max(0.0, self._gathered + weight * (mean - value - TOLERANCE))
        if self._gathered <= THRESHOLD:
            return False
        self._means.clear()
        self._gathered = 0.0
        return True


def stability_index(reference: Sequence[float], current: Sequence[float], bins: int = BINS) -> float:
    """Population stability index of two samples, in bins of equal shares of the first; a value that many have is a bin
    of its own, and half a case is added to each bin so that an empty one is finite. 0: the same."""
    if not reference or not current:
        return 0.0
    ordered = sorted(reference)
    cuts = [ordered[len(ordered) * n // bins] for n in range(1, bins)]
    often = {math.nextafter(a, math.inf) for a, b in pairwise(cuts) if a == b}
    edges = sorted({*cuts, *often})
    was, now = _shares(reference, edges), _shares(current, edges)
    return sum((b - a) * math.log(b / a) for a, b in zip(was, now, strict=True))


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    counts = [0.5] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    total = len(values) + 0.5 * len(counts)
    return [count / total for count in counts]


class Shift:
    """Whether requests are still as they were: a reference window of them, and one of those after."""

    def __init__(self) -> None:
        self._reference: list[tuple[float, ...]] = []
        self._current: list[tuple[float, ...]] = []
        self.index: float | None = None

    def feed(self, dense: tuple[float, ...]) -> bool:
        """One more request, as few numbers. True when a window is full that differs from the reference; from then on
        that is the reference."""
        if len(self._reference) < SHIFT_WINDOW:
            self._reference.append(dense)
            return False
        self._current.append(dense)
        if len(self._current) < SHIFT_WINDOW:
            return False
        was, now = zip(*self._reference, strict=True), zip(*self._current, strict=True)
        self.index = max((stability_index(a, b) for a, b in zip(was, now, strict=False)), default=0.0)
        shifted = self.index > MOST_SHIFT
        if shifted:
            self._reference = self._current
        self._current = []
        return shifted


class ModelDrift:
    """The windows of one model."""

    def __init__(self) -> None:
        self.outcomes: deque[tuple[Source, float | None, float, float]] = deque(maxlen=WINDOW)
        self.falling = Falling()
        self.shift = Shift()
        self.alarms: dict[Kind, Alarm] = {}
        self.heard = 0

    @property
    def points(self) -> list[Point]:
        """What measures success, and what was predicted of it."""
        return [(p, s, w) for source, p, s, w in self.outcomes if p is not None and source in MEASURES]

    def off(self) -> str | None:
        """In what way predictions are off, beyond what chance explains; None where they are not."""
        points = self.points
        if len(points) < ENOUGH:
            return None
        error = calibration_error(points)
        if error <= MOST_ERROR + chance_error(points):
            return None
        weights = sum(w for _, _, w in points)
        said, came = sum(p * w for p, _, w in points) / weights, sum(s * w for _, s, w in points) / weights
        return (
            f"calibration error {error:.2f} over {len(points)} outcomes: {said:.2f} predicted, {came:.2f} came; "
            "calibrate again (turnout calibrate)"
        )


class Drift:
    """All models, those least recently heard of go first. One event loop owns it."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, ModelDrift] = OrderedDict()

    def note(self, outcome: Outcome) -> list[Alarm]:
        """What became of an answer; what is wrong with its model now, each kind at most once an hour."""
        told = self._of(outcome.model)
        told.outcomes.append((outcome.source, outcome.predicted, outcome.score, outcome.weight))
        found: list[tuple[Kind, str]] = []
        told.heard += 1
        if told.heard % CHECKED_EVERY == 0 and (why := told.off()) is not None:
            found.append(("calibration", why))
        if told.falling.feed(outcome.source, outcome.score, outcome.weight, outcome.predicted):
            found.append(("success", "it succeeds less often than it did; look at GET /admin/outcomes"))
        return [a for kind, why in found if (a := _raised(told, outcome.model, kind, why, outcome.at)) is not None]

    def asked(self, model: str, dense: tuple[float, ...], at: datetime) -> list[Alarm]:
        """A request that a model answered, as few numbers; what is wrong now."""
        told = self._of(model)
        if not told.shift.feed(dense):
            return []
        why = f"its requests are of another kind than before (stability index {told.shift.index:.2f}); what was learned"
        alarm = _raised(told, model, "features", f"{why} may not hold for them", at)
        return [alarm] if alarm is not None else []

    def standings(self, now: datetime) -> list[Standing]:
        """Every model that was heard of, by name."""
        return [_standing(model, told, now) for model, told in sorted(self._models.items())]

    def _of(self, model: str) -> ModelDrift:
        if (told := self._models.get(model)) is None:
            told = self._models[model] = ModelDrift()
            if len(self._models) > MOST_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(model)
        return told


def _raised(told: ModelDrift, model: str, kind: Kind, why: str, at: datetime) -> Alarm | None:
    """The alarm, where it was not raised within the hour."""
    before = told.alarms.get(kind)
    if before is not None and at - before.at < timedelta(hours=1):
        return None
    told.alarms[kind] = alarm = Alarm(model=model, kind=kind, why=why, at=at)
    return alarm


def _standing(model: str, told: ModelDrift, now: datetime) -> Standing:
    points = told.points
    return Standing(
        model=model,
        outcomes=len(told.outcomes),
        measured=len(points),
        observed=_mean([(s, w) for _, _, s, w in told.outcomes]),
        predicted=_mean([(p, w) for _, p, _, w in told.outcomes if p is not None]),
        calibration_error=calibration_error(points) if len(points) >= ENOUGH else None,
        shift=told.shift.index,
        alarms=tuple(alarm for alarm in told.alarms.values() if now - alarm.at < SHOWN),
    )


def _mean(values: Sequence[tuple[float, float]]) -> float | None:
    weights = sum(weight for _, weight in values)
    return sum(value * weight for value, weight in values) / weights if weights else None
