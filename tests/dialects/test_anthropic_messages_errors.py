"""Errors in the shape of the Messages API, with our stable code and the field beside its own type."""

import json

import pytest

from turnout.dialects import DIALECTS
from turnout.errors import (
    BudgetExhausted,
    Internal,
    InvalidRequest,
    NoCapacity,
    NotFound,
    RateLimited,
    RunPaused,
    TooLarge,
    Unauthorized,
    UpstreamFailure,
    UpstreamRejected,
    UpstreamTimeout,
)

DIALECT = DIALECTS["anthropic-messages"]


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (InvalidRequest("x"), "invalid_request_error", "invalid_request"),
        (Unauthorized("x"), "authentication_error", "invalid_api_key"),
        (BudgetExhausted("x"), "billing_error", "budget_exhausted"),
        (RunPaused("x"), "permission_error", "run_paused"),
        (NotFound("x"), "not_found_error", "model_not_found"),
        (TooLarge("x"), "request_too_large", "request_too_large"),
        (RateLimited("x"), "rate_limit_error", "rate_limited"),
        (Internal("x"), "api_error", "internal_error"),
        (UpstreamFailure("x"), "api_error", "upstream_error"),
        (NoCapacity("x"), "overloaded_error", "no_capacity"),
        (UpstreamTimeout("x"), "timeout_error", "upstream_timeout"),
        (UpstreamRejected("x", upstream_status=422, upstream_code="odd"), "invalid_request_error", "odd"),
    ],
)
def test_the_type_follows_the_status(error, kind, code):
    told = json.loads(DIALECT.encode_error(error))
    assert told == {"type": "error", "error": {"type": kind, "message": "x", "code": code}}


def test_the_field_is_named():
    told = json.loads(DIALECT.encode_error(InvalidRequest("bad role", param="messages[3].role")))
    assert told["error"]["param"] == "messages[3].role"


def test_an_error_in_mid_stream_is_an_event_of_its_own():
    wire = DIALECT.encode_stream_error(UpstreamFailure("gone"))
    assert wire.startswith(b"event: error\ndata: {")
    assert wire.endswith(b"\n\n")


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}',
            "overloaded_error",
            "Overloaded",
        ),
        (b'{"type":"rate_limit_error","message":"slow"}', "rate_limit_error", "slow"),
        (b'{"error":"no such model"}', None, "no such model"),
        (b"<html>502</html>", None, "the provider's error had no readable message"),
        (b'{"error":{"type":[],"message":{}}}', None, "the provider's error had no readable message"),
        (b"[" * 5000, None, "the provider's error had no readable message"),
    ],
)
def test_whatever_a_host_says_is_read(body, code, message):
    fault = DIALECT.decode_error(body)
    assert (fault.code, fault.message) == (code, message)
