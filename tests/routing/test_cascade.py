"""A small model goes first only where that is expected to be cheaper than going straight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fleets import deployment, outline
from turnout.context import Candidate, Decision
from turnout.routing.cascade import cascade_cost, may_cascade, small_first

COSTS = st.integers(0, 10**9)
SHARES = st.floats(0, 1)


def candidate(name, tier, cost, success=None, **more):
    return Candidate(deployment=deployment(name, tier, 1), expected_cost_nano_usd=cost, success=success, **more)


def decided(*candidates, reason="agent"):
    return Decision(candidates=candidates, reason=reason, explanation="", pins=True)


LARGE = candidate("lab/large", "frontier", 1000, 0.83)


@given(small=COSTS, large=COSTS, passes=SHARES)
def test_going_first_pays_exactly_where_it_costs_less_than_the_chance_to_pass_is_worth(small, large, passes):
    first = small_first(decided(candidate("l/l", "frontier", large, 0.9), candidate("l/s", "small", small, passes)))
    assert (first is not None) == (cascade_cost(small, large, passes) < large)
    assert cascade_cost(small, large, 1.0) == small
    assert cascade_cost(small, large, 0.0) == small + large


@given(small=COSTS, large=COSTS, passes=SHARES, better=SHARES)
def test_a_better_chance_never_costs_more(small, large, passes, better):
    low, high = sorted((passes, better))
    assert cascade_cost(small, large, high) <= cascade_cost(small, large, low)


def test_of_several_the_one_with_the_least_expected_cost():
    cheap = candidate("lab/cheap", "small", 100, 0.5)  # 100 + 0.5 * 1000 = 600
    better = candidate("lab/better", "mid", 200, 0.8)  # 200 + 0.2 * 1000 = 400
    assert small_first(decided(LARGE, cheap, better)) is better


def test_without_a_learned_chance_the_tier_stands_in():
    assert small_first(decided(LARGE, candidate("lab/s", "small", 499))) is not None
    assert small_first(decided(LARGE, candidate("lab/s", "small", 501))) is None
    assert small_first(decided(LARGE, candidate("lab/s", None, 1))) is None


@pytest.mark.parametrize("reason", ["mode", "explicit", "quality", "escalated", "returned"])
def test_what_was_chosen_on_purpose_stays(reason):
    assert small_first(decided(LARGE, candidate("lab/s", "small", 1), reason=reason)) is None


@pytest.mark.parametrize(
    "candidates",
    [
        (LARGE,),
        (LARGE, candidate("lab/s", "small", None, 0.9)),
        (LARGE, candidate("lab/s", "small", 1, 0.9, unhealthy="closed")),
        (candidate("lab/large", "frontier", None), candidate("lab/s", "small", 1, 0.9)),
    ],
)
def test_nobody_goes_first_who_is_not_there_not_well_or_not_priced(candidates):
    assert small_first(decided(*candidates)) is None


@pytest.mark.parametrize(
    ("facts", "may"),
    [
        ({"json_schema": True}, True),
        ({"tools": 2}, True),
        ({}, False),
        ({"tools": 2, "stream": True}, False),
        ({"json_schema": True, "answers": 2}, False),
    ],
)
def test_only_whole_answers_with_a_form_can_be_checked(facts, may):
    assert may_cascade(outline(("user", "hi"), **facts)) is may
