"""Error bodies of the Messages API (docs.anthropic.com/en/api/errors), with our stable code beside its type."""

from __future__ import annotations

import msgspec

from turnout.chat import Json
from turnout.dialects.base import Fault
from turnout.dialects.faults import read_fault
from turnout.dialects.sse import format_event
from turnout.errors import TurnoutError

__all__ = ["decode_error", "encode_error", "encode_stream_error"]

TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""`type` by status. Other 4xx are the request's fault, 5xx the server's."""


def decode_error(body: bytes) -> Fault:
    """Whatever a host sends as an error, even an HTML page. Never raises."""
    return read_fault(body, codes=("type",))


def encode_error(error: TurnoutError) -> bytes:
    kind = TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    told: dict[str, Json] = {"type": kind, "message": error.message, "code": error.code}
    if error.param is not None:
        told["param"] = error.param
    return msgspec.json.encode({"type": "error", "error": told})


def encode_stream_error(error: TurnoutError) -> bytes:
    """An error as a stream's last event."""
    return format_event(encode_error(error), "error")
