"""Whom the predictor would begin a session with: the cheapest model that is good enough even if it is unlucky. Pure.

Only models whose own outcomes are known are judged; of others the predictor knows their tier, and a tier's mean is no
ground to leave the baseline. Where too little is known it says nothing, and the request's structure decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from turnout.catalog.models import Deployment
from turnout.routing.predictor import Prediction, Predictor, Seen

__all__ = ["ENOUGH", "Verdict", "verdict_of"]

ENOUGH = 50
"""Outcomes of a model from which it is judged by them."""


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
    predictor: Predictor,
    seen: Seen,
    able: Sequence[Deployment],
    quality: float,
    cost: Callable[[Deployment], float | None],
) -> Verdict | None:
    """The cheapest of `able` whose lower bound is at least `quality` times the best one's estimate; None while fewer
    than two are known, or none of the strongest tier there is. `cost` in any unit; None: unpriced, never chosen."""
    known = [(d, predictor.predict(seen, d.id)) for d in able if predictor.count(d.id) >= ENOUGH]
    strongest = max((_rank(d) for d in able), default=0)
    if len(known) < 2 or all(_rank(d) < strongest for d, _ in known):
        return None
    best, told = max(known, key=lambda one: one[1].success)
    good = [(price, d, p) for d, p in known if p.low >= quality * told.success and (price := cost(d)) is not None]
    if not good:
        return Verdict(first=best, expected=told, best=best, best_expected=told)
    _, first, expected = min(good, key=lambda one: one[0])
    return Verdict(first=first, expected=expected, best=best, best_expected=told)


def _rank(deployment: Deployment) -> int:
    return {"small": 1, "mid": 2, "frontier": 3}.get(deployment.tier or "", 0)
