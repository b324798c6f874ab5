"""The baselines stand where they must: the zero router on the hull, the oracle above everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from support.outcomes import table_of
from turnout.learn.baselines import BASELINES, Case, best_single
from turnout.learn.figures import measure
from turnout.learn.routers import Pair

COSTS = [0.001, 0.004, 0.02]
SCORES = arrays(np.float64, st.tuples(st.integers(4, 30), st.just(3)), elements=st.sampled_from([0.0, 1.0]))


def figures(table, name, seed=0):
    case = Case(table=table, rows=np.arange(len(table)), pair=Pair(weak=0, strong=2), seed=seed)
    return measure(table, case.pair, BASELINES[name](case))


def test_one_query_that_only_the_dear_model_solves():
    table = table_of([[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 1]], COSTS)
    oracle, best = figures(table, "oracle"), figures(table, "best")
    # Three for the cheap model, one for the dear one, instead of four for the dear one.
    assert oracle.saved["100"] == pytest.approx(1 - (3 * 0.001 + 0.02) / (4 * 0.02))
    assert best.saved == {"95": 0, "98": 0, "100": 0}
    assert oracle.apgr.value > 0.5
    assert best.apgr is None


@given(SCORES)
def test_nothing_is_above_the_oracle(scores):
    table = table_of(scores, COSTS)
    oracle = figures(table, "oracle")
    for name in ("zero", "length", "random", "best"):
        assert oracle.aiq.value >= figures(table, name).aiq.value - 1e-9


@given(SCORES)
def test_the_zero_router_is_the_hull_of_single_models(scores):
    table = table_of(scores, COSTS)
    zero = figures(table, "zero")
    assert zero.aiq.value >= figures(table, "best").aiq.value - 1e-9
    assert zero.apgr is None or zero.apgr.value == pytest.approx(0.5)


def test_of_equally_good_models_the_cheapest_is_best():
    assert best_single(table_of([[0, 1, 1], [1, 1, 1]], [3, 2, 1]), np.arange(2)) == 2


def test_without_costs_there_are_no_figures_of_cost():
    told = figures(table_of([[0, 1, 1], [1, 1, 0], [0, 0, 1]]), "oracle")
    assert told.aiq is None
    assert told.saved == {}
    assert told.apgr is not None
