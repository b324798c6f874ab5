"""Errors in Google's words, both ways."""

import json

import pytest

from support.recordings import load
from turnout.dialects.base import Fault
from turnout.dialects.gemini import GEMINI
from turnout.errors import BudgetExhausted, InvalidRequest, NoCapacity, NotFound, RateLimited, UpstreamTimeout


def test_a_recorded_error_is_told_in_words():
    (case,) = (c for c in load("gemini") if c.status >= 400)
    fault = GEMINI.decode_error(case.response)
    assert fault.code == "NOT_FOUND"
    assert fault.message.startswith("models/gemini-3.6-flahs is not found")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            b'{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED"}}',
            Fault(code="RESOURCE_EXHAUSTED", message="Quota exceeded."),
        ),
        (
            b'[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]',
            Fault(code="INVALID_ARGUMENT", message="API key not valid."),
        ),
        (b'{"error":"no"}', Fault(code=None, message="no")),
        (b"<html>502</html>", Fault(code=None, message="the provider's error had no readable message")),
        (b"[]", Fault(code=None, message="the provider's error had no readable message")),
        (b'{"error":{"code":1,"message":2}}', Fault(code=None, message="the provider's error had no readable message")),
    ],
)
def test_errors_of_google(body, fault):
    assert GEMINI.decode_error(body) == fault


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (InvalidRequest("no"), 400, "INVALID_ARGUMENT"),
        (BudgetExhausted("no"), 402, "FAILED_PRECONDITION"),
        (NotFound("no"), 404, "NOT_FOUND"),
        (RateLimited("no"), 429, "RESOURCE_EXHAUSTED"),
        (NoCapacity("no"), 503, "UNAVAILABLE"),
        (UpstreamTimeout("no"), 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_our_errors_in_googles_words(error, code, status):
    told = json.loads(GEMINI.encode_error(error))["error"]
    assert (told["code"], told["status"], told["message"]) == (code, status, "no")
    assert told["details"][0]["reason"] == error.code


def test_an_error_names_its_field():
    told = json.loads(GEMINI.encode_error(InvalidRequest("no", param="contents[0].role")))["error"]
    assert told["details"][0]["metadata"] == {"param": "contents[0].role"}


def test_an_error_as_a_streams_last_event():
    raw = GEMINI.encode_stream_error(RateLimited("slow down"))
    assert raw.startswith(b'data: {"error":{"code":429,')
    assert raw.endswith(b"\n\n")
    decoder = GEMINI.stream_decoder()
    (event,) = decoder.feed(raw) + decoder.close()
    assert (event.code, event.status, event.message) == ("RESOURCE_EXHAUSTED", 429, "slow down")
