"""One place's health: what opens its breaker, for how long, and what closes it."""

from functools import reduce

from turnout.catalog.models import RateLimits
from turnout.delivery.health import WELL, after_failure, after_success, learned, limited_until, standing, told_limits


def failed(times, reason="server", now=0.0, health=WELL, **more):
    return reduce(lambda h, _: after_failure(h, reason, now, **more), range(times), health)


def test_one_failure_closes_nobody_out_three_do():
    assert standing(failed(2), 0) == "closed"
    assert standing(failed(3), 0) == "open"
    assert standing(failed(3), 2.0) == "half_open"


def test_every_second_call_failing_opens_it_too():
    health, calls = WELL, 0
    while standing(health, 0) == "closed" and calls < 50:
        health = after_failure(after_success(health), "server", 0.0)
        calls += 2
    assert (standing(health, 0), health.failures, calls) == ("open", 1, 12)


def test_a_success_closes_it_and_the_past_is_past():
    health = after_success(failed(8))
    assert standing(health, 0) == "closed"
    assert (health.failures, health.trips, health.error_rate) == (0, 0, 0)


def test_a_probe_that_fails_opens_it_for_twice_as_long():
    health = failed(3)
    first = health.open_until
    health = after_failure(health, "server", first)
    assert health.open_until - first == 2 * first
    assert failed(60).open_until <= 120


def test_the_provider_s_word_counts_and_a_shorter_one_takes_nothing_back():
    health = after_failure(WELL, "rate_limited", 0.0, 30.0)
    assert standing(health, 29.9) == "open"
    assert after_failure(health, "rate_limited", 1.0, 2.0).open_until == 30.0
    assert after_failure(WELL, "rate_limited", 0.0, 1e9).open_until == 600


def test_a_refused_key_rests_for_a_minute_and_a_bad_request_says_nothing():
    assert after_failure(WELL, "auth", 0.0).open_until == 60
    assert failed(50, "invalid_request") is WELL


def test_limits_are_kept_before_the_provider_says_429():
    told = told_limits(WELL, RateLimits(requests=2, requests_reset_s=8, tokens=1000, tokens_reset_s=5), 100.0)
    assert limited_until(told, 101, tokens=400, in_flight=0) is None
    assert limited_until(told, 101, tokens=400, in_flight=2) == 108
    assert limited_until(told, 101, tokens=1_001, in_flight=0) == 105
    assert limited_until(told, 106, tokens=1_001, in_flight=0) is None


def test_pace_is_a_moving_average():
    health = learned(learned(WELL, ttft_s=1.0, tokens_per_s=50), ttft_s=2.0)
    assert (health.pace.ttft_s, health.pace.tokens_per_s) == (1.2, 50)
    assert health.pace.seconds(100) == 1.2 + 2
