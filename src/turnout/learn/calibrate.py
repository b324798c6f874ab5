"""Chances that mean what they say: a slope and an offset for the logit, from outcomes that were held out."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression

from turnout.errors import InvalidRequest
from turnout.learn.fit import Fitted
from turnout.learn.metrics import calibration_error
from turnout.learn.outcomes import Floats, OutcomeTable
from turnout.routing.predictor import Weights

__all__ = ["FEWEST", "bent"]

FEWEST = 200
"""Outcomes from which a calibration is fitted: with fewer it would fit their noise."""


def bent(weights: Weights, table: OutcomeTable) -> tuple[Weights, float, float, int]:
    """The weights with the slope and offset that the table calls for (Platt 1999), the calibration error before and
    after, each on the half of the table that the other half did not bend, and how many outcomes there were. Raises
    InvalidRequest."""
    known = [model for model in table.models if model in weights.models]
    if not known:
        raise InvalidRequest(f"the predictor knows none of the models of {table.name}: {', '.join(table.models[:4])}")
    mine = table.of_models(known)
    plain = replace(weights, platt=(1.0, 0.0))
    said = np.clip(Fitted(plain).predict(mine.queries, known), 0.001, 0.999)
    asked = np.isfinite(mine.scores)
    chances, scores = said[asked], mine.scores[asked]
    if len(scores) < FEWEST:
        raise InvalidRequest(f"{len(scores)} outcomes are too few to calibrate with; {FEWEST} are needed")
    half = np.random.default_rng(0).permutation(len(scores)) % 2 == 0
    tested = np.empty(len(scores))
    for side in (half, ~half):
        slope, offset = _platt(chances[side], scores[side])
        tested[~side] = _bend(chances[~side], slope, offset)
    before, after = calibration_error(chances, scores), calibration_error(tested, scores)
    slope, offset = _platt(chances, scores)
    error = round(after or 0.0, 4)
    return replace(weights, platt=(slope, offset), error=error), round(before or 0.0, 4), error, len(scores)


def _platt(chances: Floats, scores: Floats) -> tuple[float, float]:
    logits = np.log(chances / (1 - chances))[:, None]
    # A score between 0 and 1 is a share of a success and a share of a failure.
    fitted = LogisticRegression(C=1e3).fit(
        np.vstack([logits, logits]),
        np.r_[np.ones(len(scores)), np.zeros(len(scores))],
        sample_weight=np.r_[scores, 1 - scores] + 1e-9,
    )
    return round(float(fitted.coef_[0, 0]), 4), round(float(fitted.intercept_[0]), 4)


def _bend(chances: Floats, slope: float, offset: float) -> Floats:
    return 1 / (1 + np.exp(-(slope * np.log(chances / (1 - chances)) + offset)))
