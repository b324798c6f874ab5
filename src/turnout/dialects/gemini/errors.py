"""Error bodies of Google's APIs (cloud.google.com/apis/design/errors), with our stable code among the details."""

from __future__ import annotations

from typing import cast

import msgspec

from turnout.chat import Json, StreamError
from turnout.dialects.base import Fault
from turnout.dialects.faults import read_fault
from turnout.dialects.sse import format_event
from turnout.errors import TurnoutError

__all__ = ["decode_error", "encode_error", "encode_stream_error", "stream_error"]

STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""Status words by HTTP status (google.rpc.Code). Other 4xx are the request's fault, 5xx the server's."""


def decode_error(body: bytes) -> Fault:
    """Whatever a host sends as an error, even an HTML page. Never raises."""
    return read_fault(body, codes=("status",))


def stream_error(value: Json) -> StreamError:
    """An `error` object in mid-stream."""
    told = cast("dict[str, Json]", value) if isinstance(value, dict) else {}
    status = told.get("code")
    known = isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600
    return StreamError(
        code=str(told.get("status") or "INTERNAL"),
        message=str(told.get("message") or "the provider failed in mid-stream"),
        status=status if isinstance(status, int) and known else 500,
    )


def encode_error(error: TurnoutError) -> bytes:
    told: dict[str, Json] = {
        "code": error.status,
        "message": error.message,
        "status": STATUS.get(error.status, "INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT"),
    }
    about = {"metadata": {"param": error.param}} if error.param is not None else {}
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code, "domain": "turnout", **about}
    return msgspec.json.encode({"error": {**told, "details": [detail]}})


def encode_stream_error(error: TurnoutError) -> bytes:
    """An error as a stream's last event."""
    return format_event(encode_error(error))
