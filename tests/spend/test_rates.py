"""Rates: never more than the limit in a minute, and exactly when the next will fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import RateLimited
from turnout.spend.rates import Gates, Rate


def test_a_whole_minute_at_once_and_then_one_by_one():
    rate = Rate(60)
    for _ in range(60):
        assert rate.wait_s(1, 0.0) == 0
        rate.take(1, 0.0)
    assert rate.wait_s(1, 0.0) == pytest.approx(1.0)
    assert rate.wait_s(1, 1.001) == 0


def test_more_than_a_minutes_amount_fits_when_nothing_was_used():
    rate = Rate(100)
    assert rate.wait_s(1000, 0.0) == 0
    rate.take(1000, 0.0)
    assert rate.wait_s(1, 0.0) > 500


@given(st.floats(0, 1e7))
def test_a_whole_minutes_amount_fits_at_any_time_when_nothing_was_used(now):
    assert Rate(7).wait_s(7, now) == 0


@given(st.floats(0, 1e7), st.integers(1, 100))
def test_a_minutes_amount_fits_one_by_one_in_the_same_moment_too(now, limit):
    rate = Rate(limit)
    for _ in range(limit):
        assert rate.wait_s(1, now) == 0
        rate.take(1, now)
    assert rate.wait_s(1, now) == pytest.approx(60 / limit)


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20)), max_size=60))
def test_no_minute_holds_more_than_the_burst_and_the_rate(limit, asked):
    rate, now, let_in = Rate(limit), 0.0, []
    for pause, weight in asked:
        now += pause
        wait = rate.wait_s(weight, now)
        if wait == 0:
            rate.take(weight, now)
            let_in.append((now, weight))
        else:
            assert rate.wait_s(weight, now + wait + 1e-6) == 0
    for at, _ in let_in:
        used = sum(min(w, limit) for t, w in let_in if at <= t < at + 60)
        assert used <= 2 * limit + max((w for _, w in let_in), default=0)


def test_one_limit_that_refuses_uses_nothing_of_the_others():
    gates = Gates()
    gates.enter("k", 90, 0.0, rpm=10, tpm=100, at_once=None)
    for _ in range(20):
        with pytest.raises(RateLimited):
            gates.enter("k", 90, 0.0, rpm=10, tpm=100, at_once=None)
    gates.leave("k", estimated=90, used=0, now_s=0.0)
    gates.enter("k", 90, 0.0, rpm=10, tpm=100, at_once=None)


def test_open_requests_are_counted():
    gates = Gates()
    for _ in range(2):
        gates.enter("k", 1, 0.0, rpm=None, tpm=None, at_once=2)
    with pytest.raises(RateLimited, match="2 requests open"):
        gates.enter("k", 1, 0.0, rpm=None, tpm=None, at_once=2)
    gates.leave("k", estimated=1, used=1, now_s=0.0)
    gates.enter("k", 1, 0.0, rpm=None, tpm=None, at_once=2)
