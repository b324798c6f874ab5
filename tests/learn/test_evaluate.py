"""Routers beside the baselines: what is measured, what the gate stops, what is said."""

import numpy as np
import pytest

from support.outcomes import ZEROEVAL, Clairvoyant, Contrarian, LengthPredictor, table_of
from turnout.errors import InvalidRequest
from turnout.learn.evaluate import Learned, Plan, evaluate, read_scores, usable
from turnout.learn.outcomes import read_outcomes
from turnout.learn.pricing import priced


@pytest.fixture(scope="module")
def table():
    whole, _ = priced(read_outcomes(ZEROEVAL), {})
    return usable(whole, [])[0]


def report(table, *, learned=None, scored=None, **plan):
    return evaluate(table, Plan(resamples=40, **plan), learned=learned or {}, scored=scored or {}, others={})


def rows_of(told, dataset="all"):
    return {(row.name, row.protocol): row for row in told.routers if row.dataset == dataset}


def test_the_baselines_of_a_table(table):
    told = report(table)
    rows = rows_of(told)
    assert told.table.strong == "o1-mini-2024-09-12"
    assert told.table.weak == "gpt-4o-mini-2024-07-18"
    assert {row.dataset for row in told.routers} == {"all", "zeroeval_gsm", "zeroeval_math-l5"}
    best, zero, oracle = (rows[name, "none"].aiq.value for name in ("best", "zero", "oracle"))
    assert best < zero < oracle
    assert rows["best", "none"].saved["100"] == 0
    assert all(row.apgr.low <= row.apgr.value <= row.apgr.high for row in told.routers if row.apgr)


def test_a_predictor_that_saw_no_label(table):
    told = report(table, learned={"mine": Learned(predictor=LengthPredictor())})
    row = rows_of(told)["mine", "transfer"]
    assert row.kind == "learned"
    assert row.queries == 120
    assert 0 <= row.ece <= 1
    assert 0 < row.latency_ms["p50"] <= row.latency_ms["p99"]
    assert not row.gated


def test_a_router_is_below_a_baseline_and_that_is_said(table):
    backwards = {("", key): -float(len(q)) for key, q in zip(table.query_ids, table.queries, strict=True)}
    told = report(table, scored={"backwards": scores_of(backwards)})
    row = rows_of(told)["backwards", "none"]
    assert row.below == ("length",)
    assert any(note.startswith("backwards is below prompt length alone") for note in told.notes)


def scores_of(scores):
    from turnout.learn.evaluate import Scores

    return Scores(scores=scores, decision_ms=())


def test_what_beats_the_zero_router_in_validation_passes_the_gate(table):
    told = report(table, learned={"mine": Learned(fitter=Clairvoyant())}, labels=(40,), folds=3)
    rows = rows_of(told)
    for protocol in ("40 labels", "3-fold"):
        row = rows["mine", protocol]
        assert not row.gated
        assert row.below == ()
        assert row.aiq.value > rows["zero", "none"].aiq.value
    assert rows["mine", "3-fold"].ece == pytest.approx(0, abs=1e-9)


def test_each_dataset_by_what_the_other_teaches(table):
    told = report(table, learned={"mine": Learned(fitter=Contrarian())}, by_dataset=True)
    assert rows_of(told, "zeroeval_math-l5")["mine", "by dataset"].queries == 60
    assert rows_of(told)["mine", "by dataset"].gated


def test_what_does_not_is_the_zero_router_and_that_is_said(table):
    told = report(table, learned={"mine": Learned(fitter=Contrarian())}, labels=(40,), folds=3)
    rows = rows_of(told)
    folded = rows["mine", "3-fold"]
    assert folded.gated
    assert folded.below == ("length",)
    assert folded.aiq.value == pytest.approx(rows["zero", "none"].aiq.value)
    assert folded.apgr.value == pytest.approx(0.5)
    assert "zero" not in rows["mine", "40 labels"].below
    assert any(note.startswith("gate: contrarian, 3-fold: 3 of 3 fits") for note in told.notes)


def test_too_few_labels_to_validate_pass_nothing(table):
    told = report(table, learned={"mine": Learned(fitter=Clairvoyant())}, labels=(3,))
    assert rows_of(told)["mine", "3 labels"].gated


def test_the_same_seed_gives_the_same_figures(table):
    one, two = (report(table, learned={"mine": Learned(fitter=Clairvoyant())}, labels=(30,), seed=5) for _ in range(2))
    assert one == two


def test_a_predictor_may_say_the_need_itself(table):
    class Needy(LengthPredictor):
        models = frozenset()  # it has outcomes of none of the table's

        def need(self, queries, weak, strong):
            return np.array([float(len(q)) for q in queries])

    rows = rows_of(report(table, learned={"mine": Learned(predictor=Needy())}))
    assert rows["mine", "transfer"].apgr.value == pytest.approx(rows["length", "none"].apgr.value)


def test_contaminated_prompts_are_left_out_and_incomplete_queries_too():
    scores = [[1, 0]] * 6 + [[np.nan, 1]]
    table, notes = usable(table_of(scores, meta=["contaminated"] + [""] * 6), ["m0", "m1"])
    assert len(table) == 5
    assert any("1 contaminated" in note for note in notes)
    assert any("1 queries are left out" in note for note in notes)
    assert any("no cost is known of m0, m1" in note for note in notes)


def test_models_without_a_price_are_left_out_where_two_have_one():
    costs = np.array([[1, 2, np.nan]] * 5)
    table, notes = usable(table_of([[1, 0, 1]] * 5, costs), [])
    assert table.models == ("m0", "m1")
    assert any("for want of a price" in note and "m2" in note for note in notes)


def test_published_rows_stand_beside_their_dataset():
    table = table_of([[0, 1], [1, 1], [1, 0], [0, 1]], datasets=["routellm_gsm8k"] * 4)
    row = rows_of(report(table))["RouteLLM causal LLM, judge data", "published"]
    assert (row.kind, row.apgr.value, row.queries) == ("published", 0.622, None)


def test_scores_of_another_router(tmp_path):
    file = tmp_path / "peer.jsonl"
    file.write_text('{"query_id": "a", "score": 0.5, "decision_ms": 2}\n{"query_id": "b", "score": 1}\n')
    told = read_scores(file)
    assert told.scores == {("", "a"): 0.5, ("", "b"): 1}
    assert told.decision_ms == (2,)
    file.write_text('{"query_id": "a", "score": 0.5}\n' * 2)
    with pytest.raises(InvalidRequest, match="several scores"):
        read_scores(file)


def test_a_router_without_a_score_for_every_query(table):
    with pytest.raises(InvalidRequest, match="peer has no score for 120 queries"):
        report(table, scored={"peer": scores_of({})})


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"strong": "gpt-9"}, "no model 'gpt-9'"),
        ({"strong": "o1-mini-2024-09-12", "weak": "o1-mini-2024-09-12"}, "name two"),
    ],
)
def test_wrong_pairs(table, plan, told):
    with pytest.raises(InvalidRequest, match=told):
        report(table, **plan)


def test_too_little_to_evaluate():
    with pytest.raises(InvalidRequest, match="no two models"):
        usable(table_of([[1, np.nan], [np.nan, 1]]), [])
    with pytest.raises(InvalidRequest, match="2 queries"):
        usable(table_of([[1, 0]] * 2), [])
