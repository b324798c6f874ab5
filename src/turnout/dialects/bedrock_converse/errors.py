"""Error bodies of Bedrock's API: `{"message": ..., "__type": ...}`."""

from __future__ import annotations

import msgspec

from turnout.dialects.base import Fault
from turnout.dialects.bedrock_converse.eventstream import format_frame
from turnout.dialects.faults import read_fault
from turnout.errors import TurnoutError

__all__ = ["decode_error", "encode_error", "encode_stream_error"]

TYPES = {400: "ValidationException", 403: "AccessDeniedException", 429: "ThrottlingException"}
"""`__type` by status. Other 4xx are the request's fault, 5xx the server's."""


def decode_error(body: bytes) -> Fault:
    """Whatever a host sends as an error, even an HTML page; the type without its package. Never raises."""
    told = read_fault(body, codes=("__type",), messages=("message", "Message"))
    return Fault(code=told.code and told.code.rpartition("#")[2], message=told.message)


def encode_error(error: TurnoutError) -> bytes:
    kind = TYPES.get(error.status, "InternalServerException" if error.status >= 500 else "ValidationException")
    return msgspec.json.encode({"message": error.message, "__type": kind})


def encode_stream_error(error: TurnoutError) -> bytes:
    """An error as a stream's last frame."""
    headers = {":exception-type": "modelStreamErrorException", ":message-type": "exception"}
    return format_frame(headers, msgspec.json.encode({"message": error.message}))
