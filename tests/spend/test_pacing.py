"""Pacing: the price rises where the money would not last, and falls again; clocks and zeros do no harm."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.spend.pacing import DEAREST, HOURS_OF_WEEK, Pacer, Pacing, Rung, SpendCurve

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
AMOUNT = 720_000
"""A thousand an hour."""


def paced(pacer, *rates, start=START, amount=AMOUNT):
    """Ten minutes at each rate, in multiples of what would last. Returns what is spent and when it is then."""
    spent, now = 0.0, start
    for rate in rates:
        spent += rate * AMOUNT / 720 / 6
        now += timedelta(minutes=10)
        pacer.update(now, spent=int(spent), amount=amount, start=start, end=END)
    return spent, now


@settings(max_examples=40)
@given(
    st.lists(st.none() | st.integers(0, 500), min_size=HOURS_OF_WEEK, max_size=HOURS_OF_WEEK),
    st.integers(0, 3 * HOURS_OF_WEEK * 60),
    st.integers(0, 2 * HOURS_OF_WEEK * 60),
)
def test_a_weight_is_that_of_its_hours_one_by_one(hours, begins, minutes):
    curve, begin = SpendCurve(hours), START + timedelta(minutes=begins)
    edges = sorted({begins, begins + minutes, *range(begins // 60 * 60 + 60, begins + minutes, 60)})
    moments = [START + timedelta(minutes=edge) for edge in edges]
    # Monday 00:00 is hour 0 of the week.
    one_by_one = sum(
        (b - a) / timedelta(hours=1) * curve._weights[a.weekday() * 24 + a.hour] for a, b in pairwise(moments)
    )
    assert curve.between(begin, begin + timedelta(minutes=minutes)) == pytest.approx(one_by_one, abs=1e-6)


def test_an_even_spend_costs_what_it_costs():
    pacer = Pacer()
    paced(pacer, *[1.0] * 500)
    assert (pacer.price, pacer.rung) == (1.0, Rung.NONE)


def test_haste_makes_dollars_dear_step_by_step_and_quiet_makes_them_cheap_again():
    pacer = Pacer()
    rungs = []
    for _ in range(16):
        paced_on(pacer, 3.0, 60, rungs)
    assert pacer.price > 2.0
    assert rungs == sorted(rungs), "one rung after the other"
    assert {Rung.NONE, Rung.EFFORT, Rung.SMALLER} <= set(rungs)
    for _ in range(96):
        paced_on(pacer, 0.0, 60, rungs)
    assert (pacer.price, pacer.rung) == (1.0, Rung.NONE)


def paced_on(pacer, rate, minutes, rungs, state={}):  # noqa: B006 - where each pacer stands
    spent, now = state.get(id(pacer), (0.0, START))
    for _ in range(minutes // 10):
        spent, now = spent + rate * AMOUNT / 720 / 6, now + timedelta(minutes=10)
        pacer.update(now, spent=int(spent), amount=AMOUNT, start=START, end=END)
        rungs.append(pacer.rung)
    state[id(pacer)] = spent, now


def test_far_too_fast_ends_in_a_pause_and_the_price_has_a_top():
    pacer = Pacer()
    paced(pacer, *[40.0] * 80)
    assert (pacer.rung, pacer.price) == (Rung.PAUSE, pytest.approx(DEAREST))


def test_a_rung_is_not_left_at_the_price_at_which_it_was_entered():
    pacer = Pacer()
    pacer.rung, pacer.price, pacer._since_rung_s = Rung.SMALLER, 1.9, 1e6
    pacer._step(60)
    assert pacer.rung == Rung.SMALLER
    pacer.price = 1.4
    pacer._step(60)
    assert pacer.rung == Rung.EFFORT


def test_a_new_period_begins_without_the_old_ones_haste():
    pacer = Pacer()
    paced(pacer, *[40.0] * 80)
    pacer.update(END, spent=0, amount=AMOUNT, start=END, end=END + timedelta(days=31))
    assert (pacer.price, pacer.rung) == (1.0, Rung.NONE)


@pytest.mark.parametrize(("amount", "end"), [(0, END), (AMOUNT, None)])
def test_nothing_to_pace_is_not_paced(amount, end):
    pacer = Pacer()
    for hour in range(48):
        pacer.update(START + timedelta(hours=hour), spent=10**9 * hour, amount=amount, start=START, end=end)
    assert (pacer.price, pacer.rung) == (1.0, Rung.NONE)


def test_a_clock_that_goes_back_changes_no_price_and_is_followed():
    pacer = Pacer()
    _, now = paced(pacer, *[3.0] * 60)
    price = pacer.price
    pacer.update(now - timedelta(hours=5), spent=0, amount=AMOUNT, start=START, end=END)
    assert pacer.price == price
    pacer.update(now - timedelta(hours=4), spent=0, amount=AMOUNT, start=START, end=END)
    assert pacer._at == now - timedelta(hours=4)


def test_a_spent_budget_and_a_period_over_are_no_division_by_zero():
    pacer = Pacer()
    paced(pacer, *[3.0] * 6)
    for spent in (AMOUNT, 2 * AMOUNT):
        pacer.update(
            END - timedelta(seconds=1) + timedelta(minutes=spent / AMOUNT),
            spent=spent,
            amount=AMOUNT,
            start=START,
            end=END,
        )
    assert 1.0 <= pacer.price <= DEAREST


def test_the_curve_learns_when_people_work():
    curve = SpendCurve()
    monday = datetime(2026, 11, 2, tzinfo=UTC)
    assert curve.between(monday, monday + timedelta(days=1)) == pytest.approx(24)
    for day in range(14):
        for hour in range(24):
            for _ in range(20 if 9 <= hour < 17 and day % 7 < 5 else 1):
                curve.ask(monday + timedelta(days=day, hours=hour))
    noon, night = monday + timedelta(days=14, hours=12), monday + timedelta(days=14, hours=3)
    hour = timedelta(hours=1)
    assert curve.between(noon, noon + hour) > 10 * curve.between(night, night + hour)
    assert curve.between(monday, monday + timedelta(days=7)) == pytest.approx(168, rel=0.02)
    assert curve.between(monday, monday + timedelta(days=70)) == pytest.approx(1680, rel=0.02)


def test_the_strictest_of_all_budgets_counts_and_only_strict_ones_pause():
    pacing = Pacing()
    pacing.reconfigure({"company": False, "team": True})
    assert pacing.strictest(["company", "other"]).budget is None
    pacing["company"].rung, pacing["company"].price = Rung.PAUSE, 9.0
    pacing["team"].rung, pacing["team"].price = Rung.EFFORT, 1.6
    told = pacing.strictest(["company", "team"])
    assert (told.budget, told.price, told.smaller, told.effort) == ("company", 9.0, 2, True)
    assert (told.queue, told.pause) == (False, False)
    pacing["team"].rung = Rung.PAUSE
    assert pacing.strictest(["company", "team"]).pause


def test_a_look_is_taken_once_a_minute():
    pacing = Pacing()
    assert [pacing.due(s) for s in (0.0, 59.0, 61.0, 62.0)] == [True, False, True, False]
