"""What follows a failure."""

import pytest

from turnout.delivery.retry import Move, RetryBudget, RetryPolicy, backoff_s, next_move
from turnout.errors import InvalidRequest, NotTranslatable, UpstreamFailure

POLICY = RetryPolicy(max_retries=2, backoff_s=1.0, max_backoff_s=4.0, max_wait_s=10.0)


def move(error, *, tries=1, others=False, idempotent=True, policy=POLICY, draw=0.5):
    return next_move(error, tries=tries, others=others, idempotent=idempotent, policy=policy, draw=draw)


@pytest.mark.parametrize(
    ("reason", "alone", "with_others"),
    [
        ("unreachable", "same", "other"),
        ("broken", "same", "same"),  # perhaps an idle connection that was just being closed
        ("server", "same", "other"),
        ("overloaded", "same", "other"),
        ("rate_limited", "same", "other"),
        ("timeout", "stop", "other"),
        ("auth", "stop", "other"),
        ("quota", "stop", "other"),
        ("not_found", "stop", "other"),
        ("context_window", "stop", "other"),
        ("content_refused", "stop", "stop"),
        ("invalid_request", "stop", "stop"),
    ],
)
def test_the_table(reason, alone, with_others):
    failure = UpstreamFailure("x", reason=reason)
    assert move(failure).kind == alone
    assert move(failure, others=True).kind == with_others


def test_a_lost_connection_is_tried_again_at_once_and_only_once():
    assert move(UpstreamFailure("x", reason="broken"), others=True) == Move("same", 0.0)
    assert move(UpstreamFailure("x", reason="broken"), tries=2, others=True).kind == "other"


def test_retries_at_one_place_are_bounded():
    assert [move(UpstreamFailure("x"), tries=n).kind for n in (1, 2, 3)] == ["same", "same", "stop"]


def test_a_provider_that_says_when_is_waited_for_but_not_for_long():
    assert move(UpstreamFailure("x", reason="rate_limited", retry_after=3.0)) == Move("same", 3.0)
    assert move(UpstreamFailure("x", reason="rate_limited", retry_after=11.0)).kind == "stop"
    assert move(UpstreamFailure("x", reason="rate_limited", retry_after=11.0), others=True).kind == "other"


def test_what_may_have_happened_already_is_not_repeated():
    lost, unreachable = UpstreamFailure("x", reason="broken"), UpstreamFailure("x", reason="unreachable")
    assert move(lost, idempotent=False).kind == "stop"
    assert move(unreachable, idempotent=False).kind == "same"


def test_a_refusal_goes_on_where_the_config_says_so():
    policy = RetryPolicy(refused_goes_on=True)
    assert move(UpstreamFailure("x", reason="content_refused"), others=True, policy=policy).kind == "other"


def test_faults_of_the_request_itself():
    assert move(InvalidRequest("x"), others=True).kind == "stop"
    assert move(NotTranslatable("x"), others=True).kind == "other"
    assert move(NotTranslatable("x")).kind == "stop"


def test_backoff_doubles_has_full_jitter_and_an_end():
    assert [backoff_s(n, POLICY, 1.0) for n in (1, 2, 3, 4, 9)] == [1, 2, 4, 4, 4]
    assert backoff_s(3, POLICY, 0.0) == 0


def test_an_outage_gets_a_fifth_more_calls_at_most():
    now = 0.0
    budget = RetryBudget(clock=lambda: now, share=0.2, reserve=10, window_s=10)
    allowed = 0
    for _ in range(10_000):  # 1,000 requests a second for ten seconds, each wants two retries
        now += 0.001
        budget.request()
        allowed += budget.take() + budget.take()
    assert 2_000 <= allowed <= 2_000 + 30


def test_little_traffic_may_always_retry_a_little():
    now = 0.0
    budget = RetryBudget(clock=lambda: now, share=0.0, reserve=10, window_s=10)
    assert sum(budget.take() for _ in range(30)) == 10
    now = 3.0
    assert sum(budget.take() for _ in range(30)) == 3
