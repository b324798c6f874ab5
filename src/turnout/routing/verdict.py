"""Whom the predictor would begin a session with: the cheapest model that is good enough even if it is unlucky. Pure.

Only models whose own outcomes are known are judged; of others the predictor knows their tier, and a tier's mean is no
ground to leave the baseline. Where too little is known it says nothing, and the request's structure decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from turnout.catalog.models import TIERS, Deployment
from turnout.routing.predictor import Prediction, Predictor, Seen

__all__ = ["ENOUGH", "Odds", "Verdict", "verdict_of"]

ENOUGH = 50
"""Outcomes of a model from which it is judged by them."""


class Odds:
    """What the predictor says of one request, of each model once: whoever weighs chances weighs these."""

    def __init__(self, predictor: Predictor, seen: Seen) -> None:
        self._predictor = predictor
        self._seen = seen
        self._told: dict[str, Prediction | None] = {}

    def of(self, model: str) -> Prediction | None:
        """The chance that `model` (a deployment's id) does it well; None where too few of its outcomes are known."""
        if model not in self._told:
            self._told[model] = self._predictor.predict(self._seen, model) if self.knows(model) else None
        return self._told[model]

    def knows(self, model: str) -> bool:
        """Whether enough of its outcomes are known."""
        return self._predictor.count(model) >= ENOUGH

    def simple(self, quality: float) -> bool:
        """Whether a small model keeps that quality on it (`Predictor.simple`)."""
        return self._predictor.simple(self._seen, quality)


class Verdict(Struct, frozen=True, kw_only=True):
    """`first` keeps the quality asked for even at its lower bound, and `best` is what it is measured by."""

    first: Deployment
    expected: Prediction
    best: Deployment
    best_expected: Prediction

    @property
    def why(self) -> str:
        if self.first is self.best:
            return f"{self.best.id} succeeds at {self.best_expected.success:.0%}, and nothing cheaper surely keeps that"
        return (
            f"{self.first.id} succeeds at {self.expected.success:.0%} (at least {self.expected.low:.0%}),"
            f" {self.best.id} at {self.best_expected.success:.0%}"
        )


def verdict_of(
    odds: Odds, able: Sequence[Deployment], quality: float, cost: Callable[[Deployment], float | None]
) -> Verdict | None:
    """The cheapest of `able` whose lower bound is at least `quality` times the best one's estimate; None while fewer
    than two are known, or none of the strongest tier there is. `cost` in any unit; None: unpriced, never chosen."""
    known = [(d, told) for d in able if (told := odds.of(d.id)) is not None]
    if len(known) < 2:
        return None
    strongest = max(map(_rank, able))
    if all(_rank(d) < strongest for d, _ in known):
        return None
    best, told = max(known, key=lambda one: one[1].success)
    good = [(price, d, p) for d, p in known if p.low >= quality * told.success and (price := cost(d)) is not None]
    if not good:
        return Verdict(first=best, expected=told, best=best, best_expected=told)
    _, first, expected = min(good, key=lambda one: one[0])
    return Verdict(first=first, expected=expected, best=best, best_expected=told)


def _rank(deployment: Deployment) -> int:
    return 0 if deployment.tier is None else 1 + TIERS.index(deployment.tier)
