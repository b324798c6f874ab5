"""Fitting a predictor to a table of outcomes: what it must find, and what it must not claim."""

import numpy as np
import pytest

from turnout.errors import InvalidRequest
from turnout.learn.calibrate import bent
from turnout.learn.fit import Fit, Fitted, fit_weights, stands_on
from turnout.learn.outcomes import OutcomeTable
from turnout.predicting import weights_of
from turnout.routing.features import Features, features_of
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


def test_few_outcomes_lean_on_the_packaged_predictor_and_many_do_not():
    packaged = weights_of(None)
    features = [features_of(query) for query in TABLE.queries]
    few = fit_weights(features[:60], TABLE.scores[:60], MODELS, name="made", base=packaged)
    more = fit_weights(features, TABLE.scores, MODELS, name="made", base=packaged)
    assert few.base == packaged
    assert few.models["weak"].mean[-1] < 0, "where the base sees a need, the weak model is expected to fail"
    assert few.models["strong"].mean[-1] == 0
    share = [told.models["weak"].mean[-1] / told.models["weak"].mean[-2] for told in (few, more)]
    assert share == pytest.approx([300 / 360, 300 / 540], abs=0.01)
    many = fit_weights(features * 12, np.tile(TABLE.scores, (12, 1)), MODELS, name="made", base=packaged)
    assert many.base is None, "2,880 rows say more"


def test_who_was_taught_the_very_requests_is_no_base():
    packaged = weights_of(None)
    strangers = [features_of(query) for query in TABLE.queries]
    taught = [Features(strangers[0].dense, one.buckets, 0.1) for one in packaged.exemplars[:5]]
    assert stands_on(packaged, strangers) == packaged
    assert stands_on(packaged, strangers[:95] + taught) is None
    assert Fit(based=False).fallback(TABLE, np.arange(9)) is None
