"""Error bodies of OpenAI's API and its kin."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from turnout.chat import Json
from turnout.dialects.base import Fault
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

_UNREADABLE = "the provider's error had no readable message"


def decode_error(body: bytes) -> Fault:
    """Whatever a host of this format sends as an error, even an HTML page. Never raises."""
    try:
        told: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault(code=None, message=_UNREADABLE)
    if isinstance(told, list) and told:  # Google wraps its errors in a list
        told = told[0]
    error: Json = cast("dict[str, Json]", told).get("error", told) if isinstance(told, dict) else told
    if isinstance(error, str):
        return Fault(code=None, message=error)
    if not isinstance(error, dict):
        return Fault(code=None, message=_UNREADABLE)
    fields = cast("dict[str, Json]", error)
    code = fields.get("code") or fields.get("type")
    message = fields.get("message") or fields.get("detail")
    return Fault(
        code=code if isinstance(code, str) else None,
        message=message if isinstance(message, str) and message else _UNREADABLE,
    )


def _error(error: TurnoutError) -> bytes:
    kind = TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    body = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": body})


def encode_error(error: TurnoutError) -> bytes:
    return _error(error)


def encode_stream_error(error: TurnoutError) -> bytes:
    """An error as a stream's last event. No [DONE] follows: the answer is not whole."""
    return format_event(_error(error))
