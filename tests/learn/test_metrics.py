"""The metrics, beside what was published, and beside the formulas written out."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.outcomes import FIXTURES
from turnout.learn.metrics import (
    aiq,
    apgr,
    arena_score,
    calibration_error,
    cpt,
    hull_of,
    interval,
    resamples,
    routing_curve,
    saved,
)

NUMBERS = st.floats(0, 1, allow_nan=False)


@pytest.fixture(scope="module")
def gsm8k():
    """Prompt lengths of RouteLLM's GSM8K without contaminated prompts, and what the two models scored."""
    with (FIXTURES / "routellm_gsm8k_lengths.csv").open() as file:
        rows = [(float(r["characters"]), float(r["weak"]), float(r["strong"])) for r in csv.DictReader(file)]
    return np.array(rows).T


def test_prompt_length_alone_on_routellms_gsm8k(gsm8k):
    curve = routing_curve(*gsm8k)
    assert apgr(curve)[0] == pytest.approx(0.597, abs=0.003)
    assert cpt(curve, 0.5)[0] == pytest.approx(36.9, abs=0.5)
    assert cpt(curve, 0.8)[0] == pytest.approx(66.8, abs=0.5)


def test_the_oracles_order_on_routellms_gsm8k(gsm8k):
    _, weak, strong = gsm8k
    assert apgr(routing_curve(strong - weak, weak, strong))[0] == pytest.approx(1.121, abs=0.0005)


def test_chance_recovers_half_the_gap(gsm8k):
    _, weak, strong = gsm8k
    draw = np.random.default_rng(0)
    curves = [routing_curve(draw.random(len(weak)), weak, strong) for _ in range(30)]
    assert np.mean([apgr(c)[0] for c in curves]) == pytest.approx(0.5, abs=0.01)
    assert np.mean([cpt(c, 0.8)[0] for c in curves]) == pytest.approx(80, abs=2)


def test_a_router_that_cannot_tell_queries_apart_is_a_straight_line():
    curve = routing_curve(np.zeros(4), np.array([0.0, 0, 1, 0]), np.array([1.0, 0, 1, 1]))
    assert apgr(curve)[0] == 0.5
    assert cpt(curve, 0.8)[0] == pytest.approx(80)


def test_equal_models_have_no_gap_to_recover():
    assert np.isnan(apgr(routing_curve(np.arange(4.0), np.ones(4), np.ones(4)))[0])


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.7, 1.0]), NUMBERS, NUMBERS), min_size=3, max_size=40))
def test_points_are_those_of_routellms_own_procedure(rows):
    need, weak, strong = np.array(rows).T
    curve = routing_curve(need, weak, strong)
    edges = np.quantile(need, np.linspace(0, 1, 11))  # the last edge is open, the others are not
    chosen = [need >= edge for edge in edges[:-1]] + [need > edges[-1]]
    assert curve.share[0][::-1] == pytest.approx([c.mean() for c in chosen])
    assert curve.quality[0][::-1] == pytest.approx([np.where(c, strong, weak).mean() for c in chosen])


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=3, max_size=20), st.integers(0, 9))
def test_a_resample_is_the_table_with_its_queries_repeated(rows, seed):
    need, weak, strong = np.array(rows).T
    counts = resamples(len(rows), 1, seed)
    again = np.repeat(np.arange(len(rows)), counts[0])
    whole, repeated = routing_curve(need, weak, strong, counts), routing_curve(need[again], weak[again], strong[again])
    assert whole.share == pytest.approx(repeated.share)
    assert whole.quality == pytest.approx(repeated.quality)


def test_a_hull_by_hand():
    # The third point lies under the line from the second to the fourth; the last costs more and is worse.
    cost, quality = np.array([1.0, 2, 3, 4, 6]), np.array([0.4, 0.7, 0.72, 0.8, 0.6])
    hull = hull_of(cost, quality)
    assert hull.cost.tolist() == [1, 2, 4]
    assert aiq(hull, 6) == pytest.approx((0.55 + 1.5 + 2 * 0.8) / 6)
    assert saved(hull, 0.95, best_quality=0.8, best_cost=4) == pytest.approx(1 - 3.2 / 4)
    assert saved(hull, 1.0, best_quality=0.8, best_cost=4) == 0
    assert saved(hull, 1.0, best_quality=0.9, best_cost=4) is None


@given(st.lists(st.tuples(st.floats(0.01, 9), NUMBERS), min_size=1, max_size=20))
def test_a_hull_is_over_every_point_and_bends_one_way(points):
    cost, quality = np.array(points).T
    hull = hull_of(cost, quality)
    assert (np.interp(cost, hull.cost, hull.quality) >= quality - 1e-9)[cost >= hull.cost[0]].all()
    slopes = np.diff(hull.quality) / np.diff(hull.cost)
    assert (slopes > 0).all()
    assert (np.diff(slopes) <= 1e-6 * np.abs(slopes[:-1])).all()


@given(st.lists(st.tuples(st.floats(0.01, 9), NUMBERS), min_size=1, max_size=9), st.floats(0.01, 9), NUMBERS)
def test_another_setting_never_lowers_aiq(points, cost, quality):
    costs, qualities = np.array(points).T
    more = hull_of(np.append(costs, cost), np.append(qualities, quality))
    assert aiq(more, 9.5) >= aiq(hull_of(costs, qualities), 9.5) - 1e-9


def test_arena_ends_of_the_scale():
    assert arena_score(1.0, 0.0044 / 1_000) == pytest.approx(1)
    assert arena_score(1.0, 0.2) == 0
    assert arena_score(0.0, 0.001) == 0
    # A = 0.7 at $1 a thousand: C = log2(200) / log2(200 / 0.0044) = 0.494; S = 1.1 * A * C / (0.1 * A + C)
    assert arena_score(0.7, 0.001) == pytest.approx(0.6744, abs=0.0005)


def test_calibration_error():
    draw = np.random.default_rng(0)
    chances = draw.random(20_000)
    scores = (draw.random(20_000) < chances).astype(float)
    assert calibration_error(chances, scores) < 0.02
    assert calibration_error(np.full(100, 0.9), np.zeros(100)) == pytest.approx(0.9)
    assert calibration_error(np.array([]), np.array([])) is None


def test_intervals_hold_the_figure_and_are_the_same_for_the_same_seed(gsm8k):
    counts = resamples(gsm8k.shape[1], 200, seed=3)
    low, high = interval(apgr(routing_curve(*gsm8k, counts)))
    assert low < apgr(routing_curve(*gsm8k))[0] < high
    assert (counts == resamples(gsm8k.shape[1], 200, seed=3)).all()
    assert interval(np.array([np.nan])) is None
