"""Error bodies of OpenAI's API and its kin."""

from __future__ import annotations

import msgspec

from turnout.dialects.base import Fault
from turnout.dialects.faults import read_fault
from turnout.dialects.sse import format_event
from turnout.errors import TurnoutError

__all__ = ["decode_error", "encode_error", "encode_stream_error"]

TYPES = {
    401: "authentication_error",
    402: "budget_exceeded",
    403: "permission_error",
    429: "rate_limit_error",
}
"""`type` by status as OpenAI names it; 402 as LiteLLM does. Other 4xx: the request's fault; 5xx: the server's."""


def decode_error(body: bytes) -> Fault:
    """Whatever a host of this format sends as an error, even an HTML page. Never raises."""
    return read_fault(body, codes=("code", "type"), messages=("message", "detail"))


def _error(error: TurnoutError) -> bytes:
    kind = TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    body = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": body})


def encode_error(error: TurnoutError) -> bytes:
    return _error(error)


def encode_stream_error(error: TurnoutError) -> bytes:
    """An error as a stream's last event. No [DONE] follows: the answer is not whole."""
    return format_event(_error(error))
