"""Fitting a predictor to a table of outcomes: what it must find, and what it must not claim."""

import numpy as np
import pytest

from turnout.errors import InvalidRequest
from turnout.learn.calibrate import bent
from turnout.learn.fit import Fit, Fitted, fit_weights
from turnout.learn.outcomes import OutcomeTable
from turnout.routing.features import features_of
from turnout.routing.predictor import Weights

MODELS = ("weak", "strong")


def table(rows=240, seed=3):
    """Sums are easy for both; the weak model fails at poems. A tenth is noise."""
    random = np.random.default_rng(seed)
    poem = np.arange(rows) % 2 == 0
    words = [f"{random.integers(10**6)}" for _ in range(rows)]
    queries = [
        f"Write a poem about number {w}" if p else f"What is {w} plus 5?" for w, p in zip(words, poem, strict=True)
    ]
    right = np.column_stack([~poem, np.ones(rows, bool)]) ^ (random.random((rows, 2)) < 0.1)
    return OutcomeTable(
        name="made",
        datasets=("made",) * rows,
        query_ids=tuple(map(str, range(rows))),
        queries=tuple(queries),
        models=MODELS,
        scores=right.astype(float),
        costs=np.full((rows, 2), np.nan),
        input_tokens=np.full((rows, 2), np.nan),
        output_tokens=np.full((rows, 2), np.nan),
        meta=("",) * rows,
        left_out={},
    )


TABLE = table()
FITTED = Fit().fit(TABLE, np.arange(160))


def test_it_finds_what_a_weak_model_fails_at():
    poem, total = FITTED.predict(["Write a poem about number 77", "What is 77 plus 5?"], MODELS)
    assert poem[1] - poem[0] > 0.5
    assert abs(total[1] - total[0]) < 0.2


def test_chances_on_rows_that_it_has_not_seen_are_near_the_truth():
    said = FITTED.predict(TABLE.queries[160:], MODELS)
    truth = np.array([[0.1 if q.startswith("Write") else 0.9, 0.9] for q in TABLE.queries[160:]])
    scores = TABLE.scores[160:]
    assert np.mean((said - scores) ** 2) < np.mean((truth - scores) ** 2) + 0.01, "who knew the noise did little better"


def test_models_that_were_not_asked_everything_are_learned_from_what_they_were():
    scores = TABLE.scores.copy()
    scores[:150, 0] = np.nan
    weights = fit_weights([features_of(q) for q in TABLE.queries], scores, MODELS, name="made")
    assert (weights.models["weak"].count, weights.models["strong"].count) == (90, 240)


def test_a_version_survives_its_file():
    data = FITTED.weights.encode()
    again = Fitted(Weights.decode(data))
    assert (again.predict(TABLE.queries[:9], MODELS) == FITTED.predict(TABLE.queries[:9], MODELS)).all()


def test_calibration_mends_chances_that_are_too_sure():
    from msgspec.structs import replace

    sure = replace(FITTED.weights, platt=(1.0, 0.0), shrink=1e9, models={
        name: replace(curve, mean=tuple(4 * b for b in curve.mean)) for name, curve in FITTED.weights.models.items()
    })  # fmt: skip
    better, before, after, count = bent(sure, table(seed=9))
    assert count == 480
    assert after < before
    assert better.platt[0] < 1
    assert better.error == after


def test_a_calibration_needs_outcomes_and_models_it_knows():
    with pytest.raises(InvalidRequest, match="too few to calibrate with; 200"):
        bent(FITTED.weights, TABLE.of_rows(np.arange(20)))
    with pytest.raises(InvalidRequest, match="knows none of the models"):
        bent(Weights(), TABLE)
