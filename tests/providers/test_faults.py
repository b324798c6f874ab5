"""A provider's error answer: its reason, what the caller sees, and when to come again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from turnout.catalog.models import RateLimits
from turnout.dialects.base import Fault
from turnout.providers.faults import failure_of, reason_of, retry_after_s
from turnout.providers.limits import limits_of


@pytest.mark.parametrize(
    ("status", "code", "reason", "shown"),
    [
        (401, "invalid_api_key", "auth", (502, "upstream_error")),
        (403, None, "auth", (502, "upstream_error")),
        (402, None, "quota", (502, "upstream_quota")),
        (429, "insufficient_quota", "quota", (502, "upstream_quota")),
        (429, "rate_limit_exceeded", "rate_limited", (429, "rate_limited")),
        (429, None, "rate_limited", (429, "rate_limited")),
        (400, "context_length_exceeded", "context_window", (400, "context_length_exceeded")),
        (400, "content_filter", "content_refused", (400, "content_filter")),
        (400, "invalid_request_error", "invalid_request", (400, "invalid_request_error")),
        (404, "model_not_found", "not_found", (404, "model_not_found")),
        (422, None, "invalid_request", (422, "invalid_request")),
        (408, None, "timeout", (504, "upstream_timeout")),
        (500, None, "server", (502, "upstream_error")),
        (503, None, "overloaded", (502, "upstream_error")),
        (504, None, "timeout", (504, "upstream_timeout")),
        (529, "overloaded_error", "overloaded", (502, "upstream_error")),
        (400, "ThrottlingException", "rate_limited", (429, "rate_limited")),
    ],
)
def test_status_and_code_say_why(status, code, reason, shown):
    failure = failure_of("lab", Fault(code=code, message="told"), status, [], b"http://internal")
    assert failure.reason == reason
    assert (failure.status, failure.code) == shown
    assert failure.upstream_status == status
    assert "internal" not in failure.message


def test_an_error_that_came_as_an_answer():
    assert reason_of(200, "overloaded_error") == "overloaded"
    assert reason_of(None, None) == "server"


def test_when_to_come_again():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after_s([("retry-after", "7")]) == 7
    assert retry_after_s([("retry-after-ms", "250"), ("retry-after", "7")]) == 0.25
    assert 57 < (retry_after_s([("retry-after", later)]) or 0) <= 60
    assert retry_after_s([("retry-after", "soon")]) is None
    assert retry_after_s([("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1m2s")]) == 62
    assert retry_after_s([]) is None


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (
            {
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            RateLimits(requests=59, requests_reset_s=0.12, tokens=149_984, tokens_reset_s=360),
        ),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "2"}, RateLimits(requests=3, requests_reset_s=2)),
        ({"x-ratelimit-remaining-tokens": "many", "date": "x"}, None),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "nan"}, RateLimits(tokens=5)),
        ({}, None),
    ],
)
def test_limits_of_openai_and_its_likes(headers, told):
    assert limits_of(list(headers.items())) == told


def test_limits_of_anthropic_are_times_of_day():
    until = (datetime.now(UTC) + timedelta(seconds=30)).isoformat(timespec="seconds").replace("+00:00", "Z")
    told = limits_of([("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", until)])
    assert told is not None
    assert told.tokens == 0
    assert 28 < (told.used_up_for_s() or 0) <= 30
